package origin

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/pkg/piece"
)

// A redirect leads to the bytes, by GET and by HEAD, and takes neither the
// token nor the way there with it. A port is another host.
func TestRedirectLeavesTheTokenBehind(t *testing.T) {
	content := some(5000)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, target := range []string{storageHost, "sub." + registryHost, registryHost + ":8080"} {
			l := newLab(t)
			host, _, _ := splitPort(target)
			stored := func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/first" {
					http.Redirect(w, r, "/second?sig=other", status)
					return
				}
				ranged(content)(w, r)
			}
			g := l.guard(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+target+"/first?sig=secret", status)
			})
			if host == registryHost {
				l.serve(registryHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.Host, ":8080") {
						stored(w, r)
						return
					}
					g.ServeHTTP(w, r)
				}))
			} else {
				l.serve(host, http.HandlerFunc(stored))
			}
			o := l.origin(Config{})
			got, size, err := read(t, o, piece.Digest{1}, 1000, 2000)
			if err != nil || size != 5000 || !bytes.Equal(got, content[1000:3000]) {
				t.Errorf("%d to %s: %d bytes of %d, %v", status, target, len(got), size, err)
			}
			src, err := o.Blob(registryHost, repo, piece.Digest{1})
			if err != nil {
				t.Fatal(err)
			}
			if size, err := src.Stat(deadline(t)); size != 5000 || err != nil {
				t.Errorf("%d to %s: size %d, %v", status, target, size, err)
			}
			stops := 0
			for _, s := range l.asked(host) {
				if s.path != "/first" && s.path != "/second" {
					continue
				}
				stops++
				if s.header.Get("Authorization") != "" || s.header.Get("Referer") != "" {
					t.Errorf("%d to %s%s: %v", status, target, s.path, s.header)
				}
			}
			if stops != 4 {
				t.Errorf("%d to %s: %d stops on the way", status, target, stops)
			}
		}
	}
}

// A storage that itself wants a token gets none of the registry's.
func TestChallengeOfTheStorage(t *testing.T) {
	l := newLab(t)
	l.guard(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+storageHost+"/x", http.StatusFound)
	})
	l.serve(storageHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://elsewhere.example.com/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	l.serve("elsewhere.example.com", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"token":"theirs"}`))
	}))
	o := l.origin(Config{})
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); !refusedWith(err, 401) {
		t.Errorf("%v", err)
	}
	for _, host := range []string{storageHost, "elsewhere.example.com"} {
		for _, s := range l.asked(host) {
			if strings.Contains(s.header.Get("Authorization"), "first") {
				t.Errorf("%s was sent the registry's token", host)
			}
		}
	}
}

// What fails beyond a redirect is told without the signature that led there.
func TestFailuresBeyondARedirect(t *testing.T) {
	for target, want := range map[string]string{
		"http://" + storageHost + "/gone?sig=secret":         "origin answered 403",
		"http://nowhere.example.com/x?sig=secret":            "no host nowhere.example.com",
		"http://user:secret@" + storageHost + "/x":           "redirect with a user refused",
		"ftp://" + storageHost + "/x?sig=secret":             "ftp",
		"http://" + storageHost + "/%zz?sig=secret":          "Location",
		"http://" + storageHost + "/%zz?sig=\"sec ret\" sec": "Location",
		"": "origin answered 307",
	} {
		l := newLab(t)
		l.serve(registryHost, open(func(w http.ResponseWriter, _ *http.Request) {
			if target != "" {
				w.Header().Set("Location", target)
			}
			w.WriteHeader(http.StatusTemporaryRedirect)
		}))
		l.serve(storageHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
		_, _, err := read(t, l.origin(Config{}), piece.Digest{1}, 0, -1)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestTooManyRedirects(t *testing.T) {
	for _, hops := range []int{egress.MaxRedirects, egress.MaxRedirects + 1} {
		l := newLab(t)
		l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
			if n := len(l.asked(registryHost)); n <= hops {
				http.Redirect(w, r, "/again", http.StatusFound)
				return
			}
			ranged(some(10))(w, r)
		}))
		_, _, err := read(t, l.origin(Config{}), piece.Digest{1}, 0, -1)
		if ok := hops <= egress.MaxRedirects; ok != (err == nil) {
			t.Errorf("%d redirects: %v", hops, err)
		}
		if n := len(l.asked(registryHost)); n != egress.MaxRedirects+1 {
			t.Errorf("%d redirects: %d requests", hops, n)
		}
	}
}

// Nothing that a registry reached by https says leads to clear text: no
// redirect, no ping's, no realm.
func TestNoWayFromHTTPSToClear(t *testing.T) {
	toClear := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+storageHost+r.URL.Path, http.StatusFound)
	}
	g := &guarded{token: "t", scheme: "http", content: ranged(some(10))}
	for name, h := range map[string]http.Handler{
		"blob": open(toClear), "ping": http.HandlerFunc(toClear), "realm": g,
	} {
		l := newLab(t)
		l.serveTLS(registryHost, false, h)
		l.serve(storageHost, ranged(some(10)))
		l.serve(tokenHost, http.HandlerFunc(g.issue))
		_, _, err := read(t, l.origin(Config{Registries: []Registry{{Host: registryHost}}}), piece.Digest{1}, 0, -1)
		if err == nil || len(l.asked(storageHost))+l.pings(storageHost)+len(l.asked(tokenHost)) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A certificate that is not good is no reason to go on.
func TestStrangeCertificate(t *testing.T) {
	l := newLab(t)
	l.serveTLS(registryHost, false, open(ranged(some(10))))
	l.roots = ""
	o := l.origin(Config{Registries: []Registry{{Host: registryHost, Endpoint: "https://" + registryHost}}})
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v", err)
	}
}

// An http endpoint is reached by http at the first try, and an error says so.
func TestClearEndpoint(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, open(ranged(some(10))))
	o := l.origin(Config{Registries: []Registry{
		{Host: "a", Endpoint: "http://" + registryHost},
		{Host: "b", Endpoint: "http://nowhere.example.com"},
	}})
	if _, err := o.Resolve(deadline(t), "a", repo, "latest"); err != nil {
		t.Error(err)
	}
	if l.dialled() != 1 {
		t.Errorf("%d connections", l.dialled())
	}
	_, err := o.Resolve(deadline(t), "b", repo, "latest")
	if err == nil || !strings.Contains(err.Error(), "no host nowhere") || strings.Contains(err.Error(), "https") {
		t.Errorf("%v", err)
	}
	if _, refused := errors.AsType[*UnknownRegistryError](err); refused {
		t.Errorf("%v", err)
	}
}
