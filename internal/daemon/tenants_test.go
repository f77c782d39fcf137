package daemon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// tenants is a registry with a token server, whose repositories belong to
// different users. It refuses as distribution does.
type tenants struct {
	*httptest.Server
	repos map[string]imageOf

	mu     sync.Mutex // guards what follows
	tokens map[string]string
	gated  string // the repository whose manifests a policy withholds
	down   bool
	asked  []string // "METHOD path", of those with a token
	minted int
}

// imageOf is the one image of a repository, tagged "1".
type imageOf struct {
	manifest, config, layer []byte
}

func (i imageOf) digest() piece.Digest { return piece.Sum(i.manifest) }

// owners are who may pull, besides everybody from "pub/app".
var owners = map[string]string{"alice": "a/app", "bob": "b/app"}

const password = "correct-horse-battery"

func newTenants(t *testing.T) *tenants {
	u := &tenants{tokens: make(map[string]string), repos: make(map[string]imageOf)}
	for i, repo := range []string{"pub/app", "a/app", "b/app"} {
		layer := make([]byte, 100_000)
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(layer)
		config := []byte(fmt.Sprintf(`{"of":%q}`, repo))
		u.repos[repo] = imageOf{layer: layer, config: config, manifest: fmt.Appendf(nil,
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"digest":%q,"size":%d},"layers":[{"digest":%q,"size":%d}]}`,
			piece.Sum(config), len(config), piece.Sum(layer), len(layer))}
	}
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

// mint makes a token that is good for a repository, "" for none.
func (u *tenants) mint(repo string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.minted++
	token := fmt.Sprintf("secret-token-%d", u.minted)
	u.tokens[token] = repo
	return token
}

func (u *tenants) set(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
}

var contentPath = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs)/([^/]+)$`)

// ServeHTTP is the registry and its token server.
func (u *tenants) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		u.serveToken(w, r)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.down {
		panic(http.ErrAbortHandler)
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	path := contentPath.FindStringSubmatch(r.URL.Path)
	switch {
	case path == nil && u.tokens[token] != "":
	case path == nil || u.tokens[token] != path[1] && (path[1] != "pub/app" || token == ""):
		repo := "any"
		if path != nil {
			repo = path[1]
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="tenants",scope="repository:%s:pull"`, u.URL, repo))
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	case path[2] == "manifests" && u.gated == path[1]:
		refuse(w, http.StatusPreconditionFailed, "PROJECTPOLICYVIOLATION", "too many vulnerabilities")
	default:
		u.asked = append(u.asked, r.Method+" "+r.URL.Path)
		u.serveContent(w, r, u.repos[path[1]], path[2], path[3])
	}
}

func (u *tenants) serveContent(w http.ResponseWriter, r *http.Request, im imageOf, collection, ref string) {
	for _, c := range [][]byte{im.manifest, im.config, im.layer} {
		if d := piece.Sum(c).String(); ref == d || collection == "manifests" && ref == "1" {
			w.Header().Set("Docker-Content-Digest", d)
			if collection == "manifests" {
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c))
			return
		}
	}
	refuse(w, http.StatusNotFound, "NOT_FOUND", "nothing of that name")
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
}

// serveToken gives everybody a token, good for what they may pull.
func (u *tenants) serveToken(w http.ResponseWriter, r *http.Request) {
	repo := strings.TrimSuffix(strings.TrimPrefix(r.URL.Query().Get("scope"), "repository:"), ":pull")
	user, pass, ok := r.BasicAuth()
	switch {
	case r.Method != http.MethodGet: // containerd tries OAuth first
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "GET only")
		return
	case ok && pass != password:
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong password")
		return
	case repo != "pub/app" && (!ok || owners[user] != repo):
		repo = "none of them"
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"token": u.mint(repo)})
}

// answered is what a client sees of an answer.
type answered struct {
	Status    int
	Challenge string
	Body      string
}

// ask asks a mirror, with a token if there is one.
func (u *tenants) ask(t *testing.T, mirror, method, path, token string) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+mirror+"/v2/"+path+"?ns="+upstreamHost, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(res.Body); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answered{res.StatusCode, res.Header.Get("WWW-Authenticate"), body.String()}
}

// pull pulls an image as containerd does, and fails the test if it cannot.
func (u *tenants) pull(t *testing.T, mirror, repo, token string) {
	t.Helper()
	im := u.repos[repo]
	if got := u.ask(t, mirror, http.MethodHead, repo+"/manifests/1", token); got.Status != http.StatusOK {
		t.Fatalf("HEAD %s:1: %+v", repo, got)
	}
	for _, content := range []struct {
		path string
		want []byte
	}{
		{"/manifests/" + im.digest().String(), im.manifest},
		{"/blobs/" + piece.Sum(im.config).String(), im.config},
		{"/blobs/" + piece.Sum(im.layer).String(), im.layer},
	} {
		got := u.ask(t, mirror, http.MethodGet, repo+content.path, token)
		if got.Status != http.StatusOK || got.Body != string(content.want) {
			t.Errorf("GET %s%s: status %d, %d bytes, want %d", repo, content.path, got.Status, len(got.Body), len(content.want))
		}
	}
}

// login answers a challenge as containerd does, and returns the token.
func login(t *testing.T, challenge, user string) string {
	t.Helper()
	m := regexp.MustCompile(`^Bearer realm="([^"]+)",service="([^"]+)",scope="([^"]+)"$`).FindStringSubmatch(challenge)
	if m == nil {
		t.Fatalf("challenge %q", challenge)
	}
	query := url.Values{"service": {m[2]}, "scope": {m[3]}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m[1]+"?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct{ Token string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("token of %s: %v", m[1], err)
	}
	return answer.Token
}
