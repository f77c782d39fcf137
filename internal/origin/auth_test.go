package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// guarded is a registry that wants a Bearer token of a token server, and the
// token server.
type guarded struct {
	content http.HandlerFunc
	scheme  string // of the realm

	mu     sync.Mutex // guards what follows
	token  string     // the one that is accepted and handed out
	scopes []string   // that were asked for
}

func (g *guarded) setToken(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.token = token
}

func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	right := "Bearer " + g.token
	g.mu.Unlock()
	if r.Header.Get("Authorization") != right {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s://%s/token",service="lab"`, g.scheme, tokenHost))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path != "/v2/" {
		g.content(w, r)
	}
}

func (g *guarded) issue(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.scopes = append(g.scopes, r.URL.Query()["scope"]...)
	_, _ = fmt.Fprintf(w, `{"token":%q}`, g.token)
}

// guard adds the two to a lab.
func (l *lab) guard(content http.HandlerFunc) *guarded {
	g := &guarded{content: content, token: "first", scheme: "http"}
	l.serve(registryHost, g)
	l.serve(tokenHost, http.HandlerFunc(g.issue))
	return g
}

// An anonymous token is fetched once for a repository, sent with every
// request, and renewed when it has expired.
func TestToken(t *testing.T) {
	content := some(5000)
	l := newLab(t)
	g := l.guard(ranged(content))
	o := l.origin(Config{})
	for i := range int64(3) {
		if got, _, err := read(t, o, piece.Digest{1}, i*1000, 1000); err != nil || !bytes.Equal(got, content[i*1000:(i+1)*1000]) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	tokens := l.asked(tokenHost)
	if len(tokens) != 1 || l.pings(registryHost) != 1 || tokens[0].header.Get("Authorization")+tokens[0].header.Get("Accept-Encoding") != "" {
		t.Errorf("%d pings, tokens: %v", l.pings(registryHost), tokens)
	}
	if want := "repository:" + repo + ":pull"; len(g.scopes) != 1 || g.scopes[0] != want {
		t.Errorf("scopes %q, want %q", g.scopes, want)
	}
	g.setToken("second")
	if got, _, err := read(t, o, piece.Digest{1}, 0, 10); err != nil || !bytes.Equal(got, content[:10]) {
		t.Errorf("after the token expired: %q, %v", got, err)
	}
	if n := len(l.asked(tokenHost)); n != 2 {
		t.Errorf("%d tokens", n)
	}
	s := o.Stats()
	for key, want := range map[[2]string]int64{
		{"auth", "2"}: 2, {"auth", "4"}: 1, // tokens, a ping
		{"blob_get", "2"}: 4, {"blob_get", "4"}: 1,
	} {
		if got := requests(s, key[0], key[1]); got != want {
			t.Errorf("%v: %d, want %d", key, got, want)
		}
	}
}

// A token is good for one repository.
func TestEachRepositoryHasItsToken(t *testing.T) {
	l := newLab(t)
	g := l.guard(ranged(some(10)))
	o := l.origin(Config{})
	for _, r := range []string{"a", "b", "a"} {
		if _, err := o.Blob(registryHost, r, piece.Digest{1}); err != nil {
			t.Fatal(err)
		}
		src, _ := o.Blob(registryHost, r, piece.Digest{1})
		if _, err := src.Stat(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(g.scopes, " "); got != "repository:a:pull repository:b:pull" {
		t.Errorf("scopes %s", got)
	}
}

// All who come while the handshake is under way wait for that one.
func TestABurstMakesOneHandshake(t *testing.T) {
	const readers = 32
	content := some(5000)
	l := newLab(t)
	release := make(chan struct{})
	g := &guarded{content: ranged(content), token: "t", scheme: "http"}
	l.serve(registryHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			<-release
		}
		g.ServeHTTP(w, r)
	}))
	l.serve(tokenHost, http.HandlerFunc(g.issue))
	o := l.origin(Config{})
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			if got, _, err := read(t, o, piece.Digest{1}, 7, 100); err != nil || !bytes.Equal(got, content[7:107]) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	until(t, "for all readers to wait", func() bool { return waiters(o) == readers })
	close(release)
	all.Wait()
	if l.pings(registryHost) != 1 || len(l.asked(tokenHost)) != 1 || o.Stats().Handshakes != 1 {
		t.Errorf("%d pings, %d tokens", l.pings(registryHost), len(l.asked(tokenHost)))
	}
	if n := len(l.asked(registryHost)); n != readers {
		t.Errorf("%d requests for content", n)
	}
}

// All whose token has expired at once share a new one.
func TestABurstRenewsOneToken(t *testing.T) {
	const readers = 16
	l := newLab(t)
	var expired sync.WaitGroup
	g := &guarded{content: ranged(some(10)), token: "first", scheme: "http"}
	l.serve(registryHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer stale" {
			expired.Done()
			expired.Wait() // until all have been refused
		}
		g.ServeHTTP(w, r)
	}))
	l.serve(tokenHost, http.HandlerFunc(g.issue))
	o := l.origin(Config{})
	g.setToken("stale")
	up, err := o.upstream(registryHost)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.access(deadline(t), up, up.endpoints[0], request{repo: repo}); err != nil {
		t.Fatal(err) // a token before anything is read
	}
	g.setToken("first")
	expired.Add(readers)
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			if _, _, err := read(t, o, piece.Digest{1}, 0, -1); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(l.asked(tokenHost)); n != 2 {
		t.Errorf("%d tokens", n)
	}
}

// A token server at an address of its own, as labs and small clusters have
// them, is one that the operator names, and not one that a registry names.
func TestTokenServerAtAnAddress(t *testing.T) {
	g := &guarded{content: ranged(some(10)), token: "t", scheme: "http"}
	tokens := httptest.NewServer(http.HandlerFunc(g.issue))
	t.Cleanup(tokens.Close)
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t" {
			g.content(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`/token",service="lab"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(registry.Close)
	at := tokens.Listener.Addr().String()
	for _, hosts := range [][]string{{at}, {"token.example"}, nil} {
		o, err := newOrigin(Config{Registries: []Registry{{Host: registryHost, Endpoint: registry.URL, TokenHosts: hosts}}}, egress.Config{Proxy: direct})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(o.CloseIdle)
		_, _, err = read(t, o, piece.Digest{1}, 0, -1)
		_, unfit := errors.AsType[*ChallengeError](err)
		if named := len(hosts) > 0 && hosts[0] == at; named != (err == nil) || named == unfit {
			t.Errorf("%v: %v", hosts, err)
		}
	}
}

// waiters is how many wait for handshakes.
func waiters(o *Origin) (n int) {
	o.accesses.mu.Lock()
	defer o.accesses.mu.Unlock()
	for e := o.accesses.order.Front(); e != nil; e = e.Next() {
		n += e.Value.(*access).waiters
	}
	return n
}

// Who gives up need not wait for the handshake; when all have, it ends, and
// the next one begins anew.
func TestWaitersMayLeave(t *testing.T) {
	l := newLab(t)
	ended := make(chan struct{}, 1)
	var healed sync.Map
	l.serve(registryHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := healed.Load(true); !ok {
			<-r.Context().Done()
			ended <- struct{}{}
			return
		}
		ranged(some(10))(w, r)
	}))
	o := l.origin(Config{HeaderTimeout: time.Hour})
	src, err := o.Blob(registryHost, repo, piece.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	first, leaveFirst := context.WithCancel(deadline(t))
	second, leaveSecond := context.WithCancel(deadline(t))
	errs := make(chan error, 2)
	for _, ctx := range []context.Context{first, second} {
		go func() { _, err := src.Stat(ctx); errs <- err }()
	}
	until(t, "for both to wait", func() bool { return waiters(o) == 2 && l.pings(registryHost) == 1 })
	leaveFirst()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the first got %v", err)
	}
	if waiters(o) != 1 {
		t.Error("the second no longer waits")
	}
	leaveSecond()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the second got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the handshake that nobody waits for goes on")
	}
	healed.Store(true, true)
	if _, err := src.Stat(deadline(t)); err != nil {
		t.Errorf("the third got %v", err)
	}
}

// A handshake that failed is not remembered.
func TestFailedHandshakesAreForgotten(t *testing.T) {
	l := newLab(t)
	g := l.guard(ranged(some(10)))
	var broken sync.Map
	broken.Store(true, true)
	l.serve(tokenHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := broken.Load(true); ok {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`))
			return
		}
		g.issue(w, r)
	}))
	o := l.origin(Config{})
	_, _, err := read(t, o, piece.Digest{1}, 0, -1)
	refused, ok := errors.AsType[*peer.OriginError](err)
	if !ok || *refused != (peer.OriginError{Status: 429, RetryAfter: 7e9, Message: "TOOMANYREQUESTS: slow down"}) {
		t.Errorf("%v: %+v", err, refused)
	}
	broken.Clear()
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestPrivateRepository(t *testing.T) {
	l := newLab(t)
	g := l.guard(ranged(some(10)))
	g.content = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+tokenHost+`/token",service="lab",error="insufficient_scope"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	o := l.origin(Config{})
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); !refusedWith(err, 401) {
		t.Errorf("%v", err)
	}
}

// What go-containerregistry refuses of a challenge stays refused.
func TestRealms(t *testing.T) {
	for _, realm := range []string{"http://169.254.169.254/token?x=secret", "http://10.0.0.1/", "ftp://" + tokenHost, ""} {
		l := newLab(t)
		l.serve(registryHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="lab"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		_, _, err := read(t, l.origin(Config{}), piece.Digest{1}, 0, -1)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("realm %q: %v", realm, err)
		}
	}
}

// The answer of a token server is nobody's business, nor is what is wrong
// with it.
func TestTokenServersAnswerIsNotTold(t *testing.T) {
	l := newLab(t)
	l.guard(ranged(some(10)))
	l.serve(tokenHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"tokken":"secret"}`))
	}))
	_, _, err := read(t, l.origin(Config{}), piece.Digest{1}, 0, -1)
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "no token") {
		t.Errorf("%v", err)
	}
}

type keychain struct{ authn.Authenticator }

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) { return k.Authenticator, nil }

// Credentials go to the token server alone, and to nobody that redirects lead
// to.
func TestKeychain(t *testing.T) {
	content := some(100)
	l := newLab(t)
	l.guard(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+storageHost+"/x?sig=secret", http.StatusTemporaryRedirect)
	})
	l.serve(storageHost, ranged(content))
	o := l.origin(Config{Keychain: keychain{&authn.Basic{Username: "u", Password: "p"}}})
	if got, _, err := read(t, o, piece.Digest{1}, 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	user := func(host string) string { return l.asked(host)[0].header.Get("Authorization") }
	if user(tokenHost) != "Basic dTpw" || user(registryHost) != "Bearer first" || user(storageHost) != "" {
		t.Errorf("token server %q, registry %q, storage %q", user(tokenHost), user(registryHost), user(storageHost))
	}
}

// A registry that moves its token server is asked anew after it refused.
func TestChallengeMoves(t *testing.T) {
	l := newLab(t)
	g := l.guard(ranged(some(10)))
	o := l.origin(Config{})
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); err != nil {
		t.Fatal(err)
	}
	l.serve(tokenHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"token":"stale"}`))
	}))
	o.CloseIdle() // those to the old token server, too
	g.setToken("second")
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); !refusedWith(err, 401) {
		t.Errorf("%v", err)
	}
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); !refusedWith(err, 401) || l.pings(registryHost) != 2 {
		t.Errorf("%v after %d pings", err, l.pings(registryHost))
	}
}
