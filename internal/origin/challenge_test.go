package origin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/internal/egress/egresstest"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestParseChallenges(t *testing.T) {
	full := Challenge{"Bearer", "https://a.b/t", "s", "repository:x:pull"}
	bare := Challenge{Scheme: "Bearer", Realm: "https://a.b/t"}
	basic := Challenge{Scheme: "Basic", Realm: "lab"}
	for header, want := range map[string][]Challenge{
		`Bearer realm="https://a.b/t",service="s",scope="repository:x:pull"`:                    {full},
		`bearer Realm = "https://a.b/t" , service=s,	scope="repository:x:pull",error="invalid"`: {full},
		`Bearer realm=https://a.b/t`: {bare},
		`Basic realm="lab"`:          {basic},
		`Basic`:                      {{Scheme: "Basic"}},
		`Basic realm="lab", Bearer realm="https://a.b/t"`: {basic, bare},
		`Negotiate, Bearer realm="https://a.b/t"`:         {bare},
		`Digest realm="x", nonce="y", Basic realm="lab"`:  {basic},
		`Bearer realm="https://a.b/t",scope="a, b"`:       {{"Bearer", "https://a.b/t", "", "a, b"}},
		`Bearer`:                                                     nil,
		`Bearer service="s"`:                                         nil,
		`Bearer realm="https://a.b/t`:                                nil,
		`Bearer realm="https://a.b/t\"x"`:                            nil,
		`Bearer realm="https://a.b/` + "\x01" + `"`:                  nil,
		`Bearer realm="https://ä.b/"`:                                nil,
		`Bearer realm="` + strings.Repeat("x", maxParameter+1) + `"`: nil,
		`Bearer realm="https://a.b/t" realm2`:                        {bare},
		`=`:                                                          nil,
		`,,,`:                                                        nil,
		``:                                                           nil,
		`Bearer realm="https://a.b/t",x="` + strings.Repeat("y", 5000) + `"`: nil,
	} {
		if diff := cmp.Diff(want, parseChallenges([]string{header})); diff != "" {
			t.Errorf("%.100s:\n%s", header, diff)
		}
	}
	if got := parseChallenges([]string{`Basic realm="lab"`, "=", `Bearer realm="https://a.b/t"`}); len(got) != 2 {
		t.Errorf("of several headers: %v", got)
	}
}

// What can be passed on says the same to whoever reads it, in one line and
// without a way out of its quotes.
func FuzzParseChallenges(f *testing.F) {
	for _, h := range []string{
		`Bearer realm="https://a.b/t",service="s",scope="repository:x:pull"`, `Basic realm="x", Bearer realm=y`, `Bearer realm="a\"b"`,
		`Negotiate abc==, Basic`, "Bearer realm=\"a\r\nX: y\"", `Bearer realm="`, `a=b, c="d" e`, "", ",", "Bearer\trealm = \"x\"", `Basic realm="x",realm="y"`,
	} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, h string) {
		for _, c := range parseChallenges([]string{h}) {
			again := c.Header()
			if strings.ContainsFunc(again, func(r rune) bool { return r < ' ' || r > '~' }) || len(again) > 4*maxParameter {
				t.Fatalf("%q is passed on as %q", h, again)
			}
			if diff := cmp.Diff([]Challenge{c}, parseChallenges([]string{again})); diff != "" {
				t.Fatalf("%q is passed on as %q\n%s", h, again, diff)
			}
		}
	})
}

// Whoever gets a challenge brings a password to its realm.
func TestCheckRealm(t *testing.T) {
	for _, c := range []struct {
		registry Registry
		realm    string
		err      string
	}{
		{Registry{Host: "r.example"}, "https://r.example/token", ""},
		{Registry{Host: "r.example"}, "https://R.example:8443/token?x=y", ""},
		{Registry{Host: "r.example:5000"}, "https://r.example/token", ""},
		{Registry{Host: "r.example", Endpoint: "https://cdn.example"}, "https://r.example/token", ""},
		{Registry{Host: "r.example", Endpoint: "https://cdn.example"}, "https://cdn.example/token", ""},
		{Registry{Host: "r.example", TokenHosts: []string{"Auth.example"}}, "https://auth.example/token", ""},
		{Registry{Host: "r.example", TokenHosts: []string{"auth.example:8443"}}, "https://auth.example:8443/token", ""},
		{Registry{Host: "r.example", Endpoint: "http://r.example"}, "http://r.example/token", ""},
		{Registry{Host: "docker.io"}, "https://auth.docker.io/token", ""},
		{Registry{Host: "registry-1.docker.io", Endpoint: "https://mirror.example"}, "https://auth.docker.io/token", ""},
		{Registry{Host: "10.0.0.1:5000", Endpoint: "http://10.0.0.1:5000"}, "http://10.0.0.1:5000/token", ""},

		{Registry{Host: "r.example"}, "https://evil.example/token", "tokenHosts"},
		{Registry{Host: "r.example"}, "https://r.example.evil/token", "tokenHosts"},
		{Registry{Host: "r.example"}, "https://x.r.example/token", "tokenHosts"},
		{Registry{Host: "r.example"}, "https://auth.docker.io/token", "tokenHosts"},
		{Registry{Host: "r.example", TokenHosts: []string{"auth.example"}}, "https://auth.example:8443/token", "tokenHosts"},
		{Registry{Host: "r.example"}, "http://r.example/token", "https"},
		{Registry{Host: "docker.io"}, "http://auth.docker.io/token", "https"},
		{Registry{Host: "r.example", Endpoint: "http://r.example"}, "ftp://r.example/token", "https"},
		{Registry{Host: "r.example"}, "https://user:secret@r.example/token", "no URL"},
		{Registry{Host: "r.example"}, "//r.example/token", "https"},
		{Registry{Host: "r.example"}, "/token", "no URL"},
		{Registry{Host: "r.example"}, "https:r.example", "no URL"},
		{Registry{Host: "r.example"}, "https://r.example/#x", "no URL"},
		{Registry{Host: "r.example"}, "https://r.example\\@evil.example/", "no URL"},
		// The right name is not enough where its address is another's.
		{Registry{Host: "10.0.0.1:5000", Endpoint: "http://10.0.0.1:5000"}, "http://10.0.0.1:22/token", "private"},
		{Registry{Host: "127.0.0.1:5000", Endpoint: "http://127.0.0.1:5000"}, "http://127.0.0.1:10250/token", "loopback"},
	} {
		o, err := newOrigin(Config{Registries: []Registry{c.registry}}, egress.Config{Dial: newLab(t).dial, Proxy: direct})
		if err != nil {
			t.Fatal(err)
		}
		realm, err := url.Parse(c.realm)
		if err != nil {
			realm = &url.URL{Opaque: "no URL"}
		}
		err = o.CheckRealm(t.Context(), c.registry.Host, realm)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%+v to %s: %v", c.registry, c.realm, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

// A realm by a name that points to a link-local address is neither asked for a
// token nor passed on, however much its name is allowed.
func TestRealmThatPointsInside(t *testing.T) {
	for _, address := range []string{"169.254.169.254", "169.254.7.7", "127.0.0.1", "10.1.2.3", "fe80::1", "fd00:ec2::254"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://evil.test/token",service="lab"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		t.Cleanup(s.Close)
		dns := egresstest.NameServer{"evil.test": {address}}
		o, err := newOrigin(Config{Registries: []Registry{{Host: registryHost, Endpoint: s.URL, TokenHosts: []string{"evil.test"}}}},
			egress.Config{Proxy: direct, Resolver: dns.Resolver()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(o.CloseIdle)
		a, err := o.Probe(deadline(t), registryHost, repo, "v1")
		refused, ok := errors.AsType[*egress.AddressError](a.Unfit)
		if err != nil || a.Status != 401 || a.Challenge.Header() != "" || !ok || refused.Addr.String() != address {
			t.Errorf("%s: %+v, %v", address, a, err)
		}
		_, _, err = read(t, o, piece.Digest{1}, 0, -1)
		if _, ok := errors.AsType[*egress.AddressError](err); !ok {
			t.Errorf("%s: asked for a token: %v", address, err)
		}
	}
}

// Challenges are answered in the order of what they cost to give away.
func TestBearerBeforeBasic(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("WWW-Authenticate", `Basic realm="lab"`)
		w.Header().Add("WWW-Authenticate", `Bearer realm="http://`+tokenHost+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	a, err := l.origin(Config{}).As(secret.New("x")).HeadManifest(deadline(t), registryHost, repo, "v1")
	if err != nil || a.Challenge.Scheme != "Bearer" || len(a.Challenges) != 2 {
		t.Errorf("%+v, %v", a, err)
	}
}
