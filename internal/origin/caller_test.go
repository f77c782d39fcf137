package origin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

const denied = `{"errors":[{"code":"DENIED","message":"not for you"}]}`

// tenants is a registry with a token server: alice's token reads repo, the
// anonymous one reads "public" alone.
type tenants struct {
	content []byte
	realm   string // empty: the token server's

	mu     sync.Mutex
	status int // of every answer to those who may read, if not 0
}

const aliceToken = "Bearer alice-token"

func (l *lab) tenants(content []byte) *tenants {
	x := &tenants{content: content}
	l.serve(registryHost, x)
	l.serve(tokenHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Query().Get("scope"), ":public:") {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, denied)
			return
		}
		_, _ = io.WriteString(w, `{"token":"anonymous"}`)
	}))
	return x
}

func (x *tenants) fail(status int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status = status
}

func (x *tenants) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	public := strings.HasPrefix(r.URL.Path, "/v2/public/")
	auth := r.Header.Get("Authorization")
	if !(public && auth == "Bearer anonymous") && (auth != aliceToken || r.URL.Path == "/v2/") {
		realm := x.realm
		if realm == "" {
			realm = "http://" + tokenHost + "/token"
		}
		c := fmt.Sprintf(`Bearer realm=%q,service="lab"`, realm)
		if r.URL.Path != "/v2/" {
			c += fmt.Sprintf(`,scope="repository:%s:pull"`, strings.Split(r.URL.Path, "/")[2])
		}
		w.Header().Set("WWW-Authenticate", c)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, denied)
		return
	}
	x.mu.Lock()
	status := x.status
	x.mu.Unlock()
	if status != 0 {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, denied)
		return
	}
	w.Header().Set(digestHeader, piece.Sum(x.content).String())
	w.Header().Set("Content-Type", ociManifest)
	ranged(x.content)(w, r)
}

// nodeKeys would let the node read everything; nobody else may.
var nodeKeys = keychain{&authn.Bearer{Token: "alice-token"}}

// What everybody may read is found out without the node's credentials, and
// whoever may not is given the registry's own challenge, checked.
func TestProbe(t *testing.T) {
	content := some(500)
	l := newLab(t)
	l.tenants(content)
	o := l.origin(Config{Keychain: nodeKeys})
	got, err := o.Probe(deadline(t), registryHost, "public", "latest")
	want := Answer{Status: 200, Descriptor: Descriptor{Digest: piece.Sum(content), Size: 500, MediaType: ociManifest}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || !got.Readable() {
		t.Errorf("%v\n%s", err, diff)
	}
	got, err = o.Probe(deadline(t), registryHost, "private", piece.Sum(content).String())
	want = Answer{
		Status: 401, Body: []byte(denied),
		Challenge:  Challenge{"Bearer", "http://" + tokenHost + "/token", "lab", "repository:private:pull"},
		Challenges: []string{`Bearer realm="http://` + tokenHost + `/token",service="lab",scope="repository:private:pull"`},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil || got.Readable() {
		t.Errorf("%v\n%s", err, diff)
	}
	if h := got.Challenge.Header(); h != got.Challenges[0] {
		t.Errorf("passed on as %s", h)
	}
	for _, s := range l.asked(registryHost) {
		if s.header.Get("Authorization") == aliceToken {
			t.Errorf("%s %s with the node's credentials", s.method, s.path)
		}
	}
	// The node itself may.
	if a, err := o.Node().HeadManifest(deadline(t), registryHost, "private", "latest"); err != nil || !a.Readable() {
		t.Errorf("the node: %+v, %v", a, err)
	}
}

// The caller's Authorization goes to the registry as it is, with no token
// dance, and everything that it may say is told apart.
func TestCaller(t *testing.T) {
	content := some(5000)
	d := piece.Sum(content)
	l := newLab(t)
	x := l.tenants(content)
	o := l.origin(Config{Keychain: nodeKeys})
	alice, bob := o.As(secret.New(aliceToken)), o.As(secret.New("Basic Ym9iOmJvYg=="))
	heads := func(v View) (manifest, blob Answer) {
		t.Helper()
		manifest, err := v.HeadManifest(deadline(t), registryHost, repo, "v1")
		if err != nil {
			t.Error(err)
		}
		if blob, err = v.HeadBlob(deadline(t), registryHost, repo, d); err != nil {
			t.Error(err)
		}
		return manifest, blob
	}
	m, b := heads(alice)
	if diff := cmp.Diff([]Answer{
		{Status: 200, Descriptor: Descriptor{Digest: d, Size: 5000, MediaType: ociManifest}},
		{Status: 200, Descriptor: Descriptor{Size: 5000}},
	}, []Answer{m, b}); diff != "" {
		t.Error(diff)
	}
	m, b = heads(bob)
	if m.Status != 401 || b.Status != 401 || m.Challenge.Scheme != "Bearer" || string(m.Body) != denied {
		t.Errorf("bob: %+v, %+v", m, b)
	}
	for _, status := range []int{403, 404, 412, 429, 500, 503} {
		x.fail(status)
		m, b = heads(alice)
		if m.Status != status || b.Status != status || m.Challenge.Scheme != "" {
			t.Errorf("%d: %+v, %+v", status, m, b)
		}
		if body := string(m.Body) == denied; body != (status == 403 || status == 404 || status == 412) {
			t.Errorf("%d: body %q", status, m.Body)
		}
		if wait := m.RetryAfter != 0; wait != (status == 429 || status == 503) {
			t.Errorf("%d: wait %v", status, m.RetryAfter)
		}
	}
	x.fail(0)
	if n := len(l.asked(tokenHost)) + l.pings(registryHost); n != 0 {
		t.Errorf("%d messages for a handshake", n)
	}

	src, err := alice.Blob(registryHost, repo, d)
	if err != nil || src.Host() != registryHost {
		t.Fatal(err)
	}
	if got, size, err := readAll(t, src, 1000, 50); err != nil || size != 5000 || !bytes.Equal(got, content[1000:1050]) {
		t.Errorf("blob: %d bytes of %d, %v", len(got), size, err)
	}
	if src, err = alice.Manifest(registryHost, repo, d); err != nil {
		t.Fatal(err)
	}
	if got, _, err := readAll(t, src, 0, -1); err != nil || !bytes.Equal(got, content) {
		t.Errorf("manifest: %d bytes, %v", len(got), err)
	}
	if r, err := alice.Resolve(deadline(t), registryHost, repo, "v1"); err != nil || r.Digest != d {
		t.Errorf("%+v, %v", r, err)
	}
	if src, err = bob.Blob(registryHost, repo, d); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readAll(t, src, 0, 10); !refusedWith(err, 401) {
		t.Errorf("bob reads: %v", err)
	}
	if s := o.Stats(); s.Inflight != 0 {
		t.Errorf("%d requests left", s.Inflight)
	}
}

func TestCallerOfWhatCannotBeAsked(t *testing.T) {
	l := newLab(t)
	o := l.origin(Config{Registries: []Registry{{Host: registryHost, Endpoint: "http://nowhere.example.com"}}})
	v := o.As(secret.New("Bearer secret"))
	if a, err := v.HeadManifest(deadline(t), registryHost, repo, "v1"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%+v, %v", a, err)
	}
	_, err := v.HeadBlob(deadline(t), "other.example", repo, piece.Digest{1})
	if _, ok := errors.AsType[*UnknownRegistryError](err); !ok {
		t.Errorf("%v", err)
	}
	for _, ref := range []string{"", "../x", "sha256:0", "a b"} {
		if _, err := v.HeadManifest(deadline(t), registryHost, repo, ref); err == nil || !strings.Contains(err.Error(), "tag") {
			t.Errorf("%q: %v", ref, err)
		}
	}
	src, err := v.Blob(registryHost, repo, piece.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprintf("%v %+v %#v %v %+v %#v", v, v, v, src, src, src); strings.Contains(s, "secret") {
		t.Errorf("shown as %s", s)
	}
}

// A redirect takes the caller's credential nowhere, not even to a subdomain,
// by HEAD and by GET.
func TestCallersCredentialStaysBehind(t *testing.T) {
	content := some(100)
	for _, target := range []string{storageHost, "sub." + registryHost, registryHost + ":8080"} {
		l := newLab(t)
		host, _, _ := splitPort(target)
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/stored" {
				ranged(content)(w, r)
				return
			}
			http.Redirect(w, r, "http://"+target+"/stored?sig=x", http.StatusTemporaryRedirect)
		})
		l.serve(registryHost, h)
		if host != registryHost {
			l.serve(host, h)
		}
		v := l.origin(Config{}).As(secret.New("Bearer secret"))
		a, err := v.HeadBlob(deadline(t), registryHost, repo, piece.Digest{1})
		if err != nil || a.Status != 200 || a.Descriptor.Size != 100 {
			t.Errorf("%s: %+v, %v", target, a, err)
		}
		src, err := v.Blob(registryHost, repo, piece.Digest{1})
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := readAll(t, src, 0, -1); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", target, len(got), err)
		}
		stored := 0
		for _, s := range append(l.asked(host), l.asked(registryHost)...) {
			want := "Bearer secret"
			if s.path == "/stored" {
				want = ""
				stored++
			}
			if got := s.header.Get("Authorization"); got != want {
				t.Errorf("%s%s was sent %q", s.host, s.path, got)
			}
		}
		if stored == 0 {
			t.Errorf("%s: never got there", target)
		}
	}
}

// A registry without HEAD is asked by GET, of a blob for one byte.
func TestCallerWithoutHead(t *testing.T) {
	content := some(100)
	l := newLab(t)
	l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		ranged(content)(w, r)
	}))
	v := l.origin(Config{}).As(secret.New("Bearer x"))
	a, err := v.HeadBlob(deadline(t), registryHost, repo, piece.Digest{1})
	if err != nil || a.Status != 200 || a.Descriptor.Size != 100 {
		t.Errorf("blob: %+v, %v", a, err)
	}
	if a, err = v.HeadManifest(deadline(t), registryHost, repo, "v1"); err != nil || a.Status != 200 || a.Descriptor.Size != 100 {
		t.Errorf("manifest: %+v, %v", a, err)
	}
	for _, s := range l.asked(registryHost) {
		if strings.Contains(s.path, "/blobs/") && s.method == http.MethodGet && s.header.Get("Range") != "bytes=0-0" {
			t.Errorf("asked for %q", s.header.Get("Range"))
		}
	}
}

// What is refused is a body of at most 64 KiB, and JSON.
func TestBodiesOfRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want bool
	}{
		"JSON": {denied, true}, "a page": {"<html>", false}, "none": {"", false},
		"too long": {`{"errors":[{"code":"` + strings.Repeat("x", maxErrorBody) + `"}]}`, false},
	} {
		l := newLab(t)
		l.serve(registryHost, open(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = io.WriteString(w, c.body)
		}))
		a, err := l.origin(Config{}).As(secret.New("x")).HeadManifest(deadline(t), registryHost, repo, "v1")
		if err != nil || a.Status != 412 || (a.Body != nil) != c.want || c.want && string(a.Body) != c.body {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

// The sources of one caller are the engine's to keep: they can be compared.
func TestSourcesCanBeCompared(t *testing.T) {
	o := newLab(t).origin(Config{})
	var all []peer.Source
	for _, v := range []View{o.Node(), o.Anonymous(), o.As(secret.New("x"))} {
		s, err := v.Blob(registryHost, repo, piece.Digest{1})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if all[0] == all[1] || all[1] == all[2] || all[0] != all[0] { //nolint:staticcheck // it must not panic
		t.Error("they are confused")
	}
}
