package origin

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	nearHost    = "near.example.com"
	centralHost = "central.example.com"
)

// twoPlaces is registryHost at nearHost, and behind it at centralHost.
func (l *lab) twoPlaces(cfg Config) *Origin {
	cfg.Registries = []Registry{{Host: registryHost, Endpoints: []string{"http://" + nearHost, "http://" + centralHost}}}
	return l.origin(cfg)
}

// The next endpoint is asked where the first has no answer, and not where it
// has one. The one that failed comes last for a while.
func TestNextEndpoint(t *testing.T) {
	content := some(100)
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	status := func(n int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) }
	}
	for name, c := range map[string]struct {
		near http.Handler // nil: not there
		want int          // 0: the next one answers
	}{
		"not there": {nil, 0}, "hangs": {http.HandlerFunc(hang), 0}, "hangs after the ping": {open(hang), 0},
		"500": {open(status(500)), 0}, "503": {open(status(503)), 0}, "429": {open(status(429)), 0}, "ping 502": {status(502), 0},
		"no HTTP": {raw("SSH-2.0-x\n\n"), 0},
		"401":     {open(status(401)), 401}, "403": {open(status(403)), 403}, "404": {open(status(404)), 404}, "412": {open(status(412)), 412},
		"410": {open(status(410)), 410}, "ping 403": {status(403), 403},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			if c.near != nil {
				l.serve(nearHost, c.near)
			}
			l.serve(centralHost, open(ranged(content)))
			o := l.twoPlaces(Config{SwitchTimeout: 300 * time.Millisecond})
			asked := func(host string) int { return len(l.asked(host)) + l.pings(host) }
			for i := range 3 {
				before := asked(nearHost)
				got, _, err := read(t, o, piece.Digest{1}, 0, -1)
				if c.want != 0 {
					if !refusedWith(err, c.want) || asked(centralHost) != 0 {
						t.Fatalf("%v; the next one was asked %d times", err, asked(centralHost))
					}
					continue
				}
				if err != nil || !bytes.Equal(got, content) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				if i > 0 && asked(nearHost) != before {
					t.Error("one that failed comes first again, at once")
				}
			}
			if s := o.Stats(); s.Inflight != 0 || (s.Switched == 1) != (c.want == 0) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// Where all fail, that of the last one is told, and all are tried again.
func TestNoEndpoint(t *testing.T) {
	l := newLab(t)
	var healed atomic.Bool
	l.serve(centralHost, open(func(w http.ResponseWriter, r *http.Request) {
		if !healed.Load() {
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		ranged(some(10))(w, r)
	}))
	o := l.twoPlaces(Config{})
	_, _, err := read(t, o, piece.Digest{1}, 0, -1)
	refused, ok := errors.AsType[*peer.OriginError](err)
	if !ok || refused.Status != 429 || refused.RetryAfter != 9*time.Second {
		t.Errorf("%v", err)
	}
	healed.Store(true)
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); err != nil {
		t.Errorf("all are down, one is not: %v", err)
	}
}

// A body that breaks off sends the next read to the next endpoint.
func TestBrokenBodySwitches(t *testing.T) {
	l := newLab(t)
	l.serve(nearHost, open(raw("HTTP/1.1 200 x\nContent-Length: 100\n\n0123")))
	l.serve(centralHost, open(ranged(some(100))))
	o := l.twoPlaces(Config{})
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); err == nil {
		t.Error("four bytes are a hundred")
	}
	if got, _, err := read(t, o, piece.Digest{1}, 0, -1); err != nil || !bytes.Equal(got, some(100)) {
		t.Errorf("%v", err)
	}
}

// A caller that gives up is no failure of an endpoint's.
func TestGivingUpDoesNotSwitch(t *testing.T) {
	l := newLab(t)
	l.serve(nearHost, open(ranged(some(10))))
	l.serve(centralHost, open(ranged(some(10))))
	o := l.twoPlaces(Config{})
	up, err := o.upstream(registryHost)
	if err != nil {
		t.Fatal(err)
	}
	src, err := o.Blob(registryHost, repo, piece.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := src.Read(contextEnded(t), 0, -1); err == nil {
		t.Error("read by nobody")
	}
	if up.endpoints[0].isDown(time.Now()) || l.pings(centralHost) != 0 {
		t.Error("the endpoint is blamed")
	}
}

// A caller's credential goes to the registry's endpoints, each by itself.
func TestCallerAtTheNextEndpoint(t *testing.T) {
	l := newLab(t)
	l.serve(nearHost, open(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	l.serve(centralHost, open(ranged(some(10))))
	a, err := l.twoPlaces(Config{}).As(secret.New("Bearer x")).HeadManifest(deadline(t), registryHost, repo, "v1")
	if err != nil || !a.Readable() {
		t.Errorf("%+v, %v", a, err)
	}
	for _, host := range []string{nearHost, centralHost} {
		if got := l.asked(host)[0].header.Get("Authorization"); got != "Bearer x" {
			t.Errorf("%s was sent %q", host, got)
		}
	}
}

// How long one comes last: time is virtual.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &upstream{endpoints: []*endpoint{{}, {}, {}}}
		a, b, c := u.endpoints[0], u.endpoints[1], u.endpoints[2]
		order := func() string {
			s := ""
			for _, e := range u.inOrder(time.Now()) {
				s += fmt.Sprint(map[*endpoint]int{a: 0, b: 1, c: 2}[e])
			}
			return s
		}
		a.failed(time.Now(), errors.New("gone"))
		b.failed(time.Now(), &peer.OriginError{Status: 429, RetryAfter: time.Minute})
		want := func(order, want string) {
			t.Helper()
			if order != want {
				t.Errorf("order %s, want %s", order, want)
			}
		}
		want(order(), "201")
		time.Sleep(downFor)
		want(order(), "021")
		time.Sleep(time.Minute)
		want(order(), "012")
		b.failed(time.Now(), errors.New("gone"))
		want(order(), "021")
		b.works()
		want(order(), "012")
	})
}

// A suffix allows all that end so, each at its own host; what is listed by its
// own name goes before.
func TestSuffixes(t *testing.T) {
	o, err := New(Config{Registries: []Registry{
		{Host: "*.corp.example", TokenHosts: []string{"login.corp.example"}, ServeStale: time.Hour}, {Host: "*.corp.example:5000"},
		{Host: "Special.corp.example", Endpoint: "http://10.0.0.1:5000"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"a.corp.example": "https://a.corp.example", "A.b.corp.example": "https://a.b.corp.example", "a.corp.example:5000": "https://a.corp.example:5000",
		"special.corp.example": "http://10.0.0.1:5000",

		"corp.example": "", "xcorp.example": "", "a.corp.example:5001": "", "a.corp.example.evil": "", "a@b.corp.example": "", "a/b.corp.example": "",
		"-.corp.example": "", "*.corp.example": "", ".corp.example": "", "docker.io": "",
	} {
		got, err := endpointOf(o, host)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s is at %q, %v", host, got, err)
		}
	}
	one, err := o.upstream("a.corp.example")
	if err != nil || one.stale != time.Hour || len(one.tokenHosts) != 1 || one.host != "a.corp.example" {
		t.Errorf("%+v, %v", one, err)
	}
}

// Docker Hub is one registry, whatever people call it, and repositories are
// asked for as they are named.
func TestDockerHubsNames(t *testing.T) {
	for _, listed := range []string{"docker.io", "index.docker.io", "registry-1.docker.io"} {
		l := newLab(t)
		l.serve(registryHost, open(ranged(some(10))))
		o := l.origin(Config{Registries: []Registry{{Host: listed, Endpoint: "http://" + registryHost}}})
		for _, named := range []string{"docker.io", "Index.docker.io", "registry-1.docker.io"} {
			src, err := o.Blob(named, "library/alpine", piece.Digest{1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := src.Stat(deadline(t)); err != nil || src.Host() != "docker.io" {
				t.Errorf("%s: %s, %v", named, src.Host(), err)
			}
		}
		for _, s := range l.asked(registryHost) {
			if !strings.HasPrefix(s.path, "/v2/library/alpine/blobs/") {
				t.Errorf("asked for %s", s.path)
			}
		}
		if l.pings(registryHost) != 1 {
			t.Errorf("%d handshakes with one registry", l.pings(registryHost))
		}
	}
	if _, err := New(Config{Registries: []Registry{{Host: "docker.io"}, {Host: "index.docker.io"}}}); err == nil {
		t.Error("one registry is listed twice")
	}
}
