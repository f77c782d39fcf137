package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/egress/egresstest"
)

// server answers "hello" on loopback.
func server(t *testing.T, h http.HandlerFunc) (s *httptest.Server, port string) {
	if h == nil {
		h = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }
	}
	s = httptest.NewServer(h)
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return s, port
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	if cfg.Proxy == nil {
		cfg.Proxy = direct
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func get(t *testing.T, c *Client, u string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: c, CheckRedirect: CheckRedirect}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// An address on loopback is reached where the operator named it, and at no
// other port.
func TestLoopbackMustBeNamed(t *testing.T) {
	s, port := server(t, nil)
	if got, err := get(t, client(t, Config{Hosts: []Host{{Scheme: "http", Host: s.Listener.Addr().String()}}}), s.URL); got != "hello" {
		t.Errorf("named: %q, %v", got, err)
	}
	for _, hosts := range [][]Host{nil, {{Scheme: "http", Host: "127.0.0.1:1"}}, {{Scheme: "http", Host: "other.example:" + port, Private: true}}} {
		_, err := get(t, client(t, Config{Hosts: hosts}), s.URL)
		if refused, ok := errors.AsType[*AddressError](err); !ok || refused.Addr != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("%v: %v", hosts, err)
		}
	}
}

// It is the resolved address that counts, whatever the name is.
func TestNamesThatPointInside(t *testing.T) {
	_, port := server(t, nil)
	dns := egresstest.NameServer{
		"loop.example": {"127.0.0.1"}, "meta.example": {"169.254.169.254"}, "link.example": {"fe80::1"}, "ec2.example": {"fd00:ec2::254"},
		"alibaba.example": {"100.100.100.200"}, "private.example": {"10.255.255.1"}, "both.example": {"127.0.0.1", "10.255.255.1"},
		"reg.localhost": {"127.0.0.1"},
	}
	private := []Host{}
	for name := range dns {
		private = append(private, Host{Scheme: "http", Host: name + ":" + port, Private: true})
	}
	for _, c := range []struct {
		name    string
		hosts   []Host
		address string // that is refused
	}{
		{"loop.example", nil, "127.0.0.1"}, {"meta.example", nil, "169.254.169.254"}, {"link.example", nil, "fe80::1"},
		{"ec2.example", nil, "fd00:ec2::254"}, {"alibaba.example", nil, "100.100.100.200"}, {"private.example", nil, "10.255.255.1"},
		// To be private is no right to the rest.
		{"loop.example", private, "127.0.0.1"}, {"meta.example", private, "169.254.169.254"}, {"link.example", private, "fe80::1"},
		{"ec2.example", private, "fd00:ec2::254"}, {"alibaba.example", private, "100.100.100.200"},
	} {
		cl := client(t, Config{Hosts: c.hosts, Resolver: dns.Resolver()})
		u := &url.URL{Scheme: "http", Host: c.name + ":" + port}
		_, getErr := get(t, cl, u.String())
		for _, err := range []error{getErr, cl.Check(t.Context(), u)} {
			refused, ok := errors.AsType[*AddressError](err)
			if !ok || refused.Addr.String() != c.address || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s, private %v: %v", c.name, c.hosts != nil, err)
			}
			if hint := strings.Contains(fmt.Sprint(err), "private: true"); hint != (c.address == "10.255.255.1") {
				t.Errorf("%s: a way out that is none, or none where there is one: %v", c.name, err)
			}
		}
	}
	// Check needs all addresses to be right, for it does not choose.
	cl := client(t, Config{Hosts: private, Resolver: dns.Resolver()})
	if err := cl.Check(t.Context(), &url.URL{Scheme: "http", Host: "both.example:" + port}); err == nil {
		t.Error("half of the addresses are enough")
	}
	if err := cl.Check(t.Context(), &url.URL{Scheme: "http", Host: "private.example:" + port}); err != nil {
		t.Error(err)
	}
	if err := cl.Check(t.Context(), &url.URL{Scheme: "http", Host: "nowhere.example"}); err == nil {
		t.Error("a name without addresses is allowed")
	}
	if got, err := get(t, cl, "http://reg.localhost:"+port); got != "hello" {
		t.Errorf("a named localhost: %q, %v", got, err)
	}
}

// A name that changes between the check of a realm and the connection to it is
// checked again, with the address that is connected to.
func TestRebinding(t *testing.T) {
	_, port := server(t, nil)
	dns := egresstest.Rebinding{Name: "r.example", Answers: [][]string{{"8.8.8.8"}, {"127.0.0.1"}}}
	c := client(t, Config{Resolver: dns.Resolver()})
	u := &url.URL{Scheme: "http", Host: "r.example:" + port}
	if err := c.Check(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, c, u.String()); got != "" {
		t.Errorf("connected: %v", err)
	} else if _, ok := errors.AsType[*AddressError](err); !ok {
		t.Error(err)
	}
}

// What a redirect leads to is checked like everything else.
func TestRedirectsInside(t *testing.T) {
	inside, insidePort := server(t, nil)
	for _, to := range []string{inside.URL, "http://169.254.169.254/latest/meta-data", "http://[::ffff:127.0.0.1]:" + insidePort, "http://loop.example:" + insidePort} {
		s, _ := server(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
		dns := egresstest.NameServer{"loop.example": {"127.0.0.1"}}
		registry := Host{Scheme: "http", Host: s.Listener.Addr().String(), Private: true}
		if got, err := get(t, client(t, Config{Hosts: []Host{registry}, Resolver: dns.Resolver()}), s.URL); got != "" {
			t.Errorf("%s was reached", to)
		} else if _, ok := errors.AsType[*AddressError](err); !ok {
			t.Errorf("%s: %v", to, err)
		}
		if to != inside.URL {
			continue
		}
		storage := Host{Scheme: "http", Host: inside.Listener.Addr().String()}
		if got, err := get(t, client(t, Config{Hosts: []Host{registry, storage}}), s.URL); got != "hello" {
			t.Errorf("to a host that is named too: %q, %v", got, err)
		}
	}
}

// With a proxy, which is where the environment says, the addresses in URLs are
// checked; a proxy's own address is no way around that.
func TestProxy(t *testing.T) {
	var asked []string
	proxy, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		_, _ = io.WriteString(w, "by proxy")
	})
	by, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, Config{Proxy: func(r *http.Request) (*url.URL, error) {
		if r.URL.Host == by.Host {
			return nil, nil
		}
		return by, nil
	}})
	if got, err := get(t, c, "http://registry.example/v2/"); got != "by proxy" {
		t.Errorf("%q, %v", got, err)
	}
	for _, u := range []string{"http://169.254.169.254/", "http://127.0.0.1:1/", "http://10.0.0.1/", proxy.URL} {
		if _, err := get(t, c, u); err == nil {
			t.Errorf("%s was reached", u)
		} else if _, ok := errors.AsType[*AddressError](err); !ok {
			t.Errorf("%s: %v", u, err)
		}
	}
	if len(asked) != 1 || asked[0] != "http://registry.example/v2/" {
		t.Errorf("the proxy was asked %q", asked)
	}
}

func TestOtherSchemes(t *testing.T) {
	c := client(t, Config{})
	for _, u := range []string{"ftp://registry.example/", "file:///etc/passwd", "unix://x"} {
		if _, err := get(t, c, u); err == nil || !strings.Contains(err.Error(), "no way") {
			t.Errorf("%s: %v", u, err)
		}
	}
}
