package egress

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestCheckRedirect(t *testing.T) {
	for _, c := range []struct {
		from, to string
		keeps    bool // the credentials
		err      string
	}{
		{"https://a.b/x", "https://a.b/y", true, ""},
		{"https://a.b/x", "https://A.B:443/y", true, ""},
		{"http://a.b/x", "http://a.b/y", true, ""},
		{"https://a.b/x", "https://sub.a.b/y", false, ""},
		{"https://a.b/x", "https://a.b:8443/y", false, ""},
		{"https://a.b/x", "https://c.d/y", false, ""},
		{"http://a.b/x", "https://a.b/y", false, ""},
		{"https://a.b/x", "http://a.b/y", false, "from https to http"},
		{"https://a.b/x", "ftp://a.b/y", false, "from https to ftp"},
		{"https://a.b/x", "https://user@a.b/y", false, "user"},
	} {
		var via []*http.Request
		request := func(u string) *http.Request {
			parsed, err := url.Parse(u)
			if err != nil {
				t.Fatal(err)
			}
			return &http.Request{URL: parsed, Header: http.Header{"Authorization": {"secret"}, "Cookie": {"secret"}, "Referer": {c.from}}}
		}
		via = append(via, request(c.from))
		r := request(c.to)
		err := CheckRedirect(r, via)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s to %s: %v", c.from, c.to, err)
			}
			continue
		}
		kept := r.Header.Get("Authorization") != "" && r.Header.Get("Cookie") != ""
		dropped := r.Header.Get("Authorization") == "" && r.Header.Get("Cookie") == ""
		if err != nil || kept != c.keeps || dropped == c.keeps || r.Header.Get("Referer") != "" {
			t.Errorf("%s to %s: %v, %v", c.from, c.to, r.Header, err)
		}
	}
}
