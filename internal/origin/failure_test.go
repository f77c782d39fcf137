package origin

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// What the registry refuses comes out as a *peer.OriginError with its words.
func TestRefusals(t *testing.T) {
	const oci = `{"errors":[{"code":"BLOB_UNKNOWN","message":"never heard of\u0007 it","detail":{"x":1}},{"code":"B"}]}`
	for name, c := range map[string]struct {
		status int
		retry  string
		body   string
		want   peer.OriginError
	}{
		"404":           {404, "", oci, peer.OriginError{Status: 404, Message: "BLOB_UNKNOWN: never heard of  it"}},
		"429":           {429, "17", oci, peer.OriginError{Status: 429, RetryAfter: 17 * time.Second, Message: "BLOB_UNKNOWN: never heard of  it"}},
		"503 for long":  {503, "99999999999999999999", "", peer.OriginError{Status: 503, RetryAfter: maxRetryAfter, Message: "Service Unavailable"}},
		"503 until":     {503, "Fri, 31 Dec 9999 23:59:59 GMT", "x", peer.OriginError{Status: 503, RetryAfter: maxRetryAfter, Message: "x"}},
		"503 nonsense":  {503, "soon", "", peer.OriginError{Status: 503, Message: "Service Unavailable"}},
		"404 to wait":   {404, "17", "", peer.OriginError{Status: 404, Message: "Not Found"}},
		"a page":        {502, "", "<html>\n<body>", peer.OriginError{Status: 502, Message: "Bad Gateway"}},
		"no known code": {599, "", "", peer.OriginError{Status: 599, Message: "no reason given"}},
		"416":           {416, "", "", peer.OriginError{Status: 416, Message: `no bytes=5-9 in "bytes */3": Requested Range Not Satisfiable`}},
		"long":          {500, "", strings.Repeat("ä", 400), peer.OriginError{Status: 500, Message: strings.Repeat("ä", 148) + "…"}},
		"no UTF-8":      {500, "", "a\xff\x00b\u202ec\r\nd", peer.OriginError{Status: 500, Message: "a? b c  d"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.serve(registryHost, open(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", c.retry)
				if c.status == 416 {
					w.Header().Set("Content-Range", "bytes */3")
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			o := l.origin(Config{})
			_, _, err := read(t, o, piece.Digest{1}, 5, 5)
			got, ok := errors.AsType[*peer.OriginError](err)
			if !ok {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" || len(got.Message) > maxMessage {
				t.Error(diff)
			}
			if want := "GET blob " + (piece.Digest{1}).String() + " of " + registryHost + "/" + repo; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%v does not say what was attempted", err)
			}
			if s := o.Stats(); s.Inflight != 0 || requests(s, "blob_get", fmt.Sprint(c.status)[:1]) != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A registry that refuses the ping itself is told of just as well.
func TestRefusedPing(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	_, _, err := read(t, l.origin(Config{}), piece.Digest{1}, 0, -1)
	got, ok := errors.AsType[*peer.OriginError](err)
	if !ok || *got != (peer.OriginError{Status: 503, RetryAfter: 3 * time.Second, Message: "Service Unavailable"}) {
		t.Errorf("%v", err)
	}
}

func TestHandshakeThatNeverEnds(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	_, _, err := read(t, l.origin(Config{HeaderTimeout: 100 * time.Millisecond}), piece.Digest{1}, 0, -1)
	if err == nil || !strings.Contains(err.Error(), registryHost) {
		t.Errorf("%v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, " 30 ": 30 * time.Second, "600": maxRetryAfter, "601": maxRetryAfter,
		"9223372036854775807": maxRetryAfter, "9223372036854775808": maxRetryAfter,
		"-1": 0, "+1": 0, "1.5": 0, "1s": 0, "0x10": 0, "soon": 0,
		"Fri, 01 May 2026 12:00:20 GMT":  20 * time.Second,
		"Fri, 01 May 2026 11:00:00 GMT":  0,
		"Sat, 02 May 2026 12:00:00 GMT":  maxRetryAfter,
		"Friday, 01-May-26 12:00:20 GMT": 20 * time.Second,
		"Fri May  1 12:00:20 2026":       20 * time.Second,
	} {
		if got := retryAfter(v, now); got != want {
			t.Errorf("%q: %v, want %v", v, got, want)
		}
	}
}

func TestHush(t *testing.T) {
	for in, want := range map[string]string{
		`Get "https://t.example/token?scope=x&sig=secret": dial tcp: refused`: `Get "https://t.example/token": dial tcp: refused`,
		`Get "https://u:secret@h.example/a": EOF`:                             `Get "https://h.example/a": EOF`,
		`Get "https://h/a?x=\"secret\" secret": EOF`:                          `Get "https://h/a": EOF`,
		"no token in bearer response:\n{\"x\":\"secret\"}":                    "no token in bearer response:",
		"GET https://h/a?secret":                                              "GET https://h/a",
		"plain":                                                               "plain",
	} {
		if got := hush(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		" a\tb\x1b[31m\x7f ":     "a b [31m",
		"a\xc3":                  "a?",
		strings.Repeat("x", 300): strings.Repeat("x", 300),
		strings.Repeat("x", 301): strings.Repeat("x", 297) + "…",
		strings.Repeat("€", 101): strings.Repeat("€", 99) + "…",
	} {
		got := clean(in)
		if got != want || len(got) > maxMessage || !utf8.ValidString(got) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
