package origin

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/p2pd/p2pd/pkg/piece"
)

func file(t *testing.T, content string) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(f, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func resolved(t *testing.T, k *Keychain, image string) authn.AuthConfig {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	a, err := k.Resolve(ref.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := authn.Authorization(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return *c
}

// Each registry has its own credentials, and others have none.
func TestNodesCredentials(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("docker:p:w"))
	docker := file(t, `{"HttpHeaders":{"x":"y"},"auths":{
		"https://index.docker.io/v1/": {"auth":"`+auth+`"},
		"ghcr.io": {"username":"g","password":"h"},
		"ghcr.io/team": {"username":"team","password":"t"},
		"id.example": {"auth":"`+base64.StdEncoding.EncodeToString([]byte("00000000-0000-0000-0000-000000000000:"))+`","identitytoken":"id"},
		"https://plain.example/v2/": {"registrytoken":"reg"}}}`)
	k, err := NewKeychain([]Credentials{
		{Host: "a.example:5000", File: file(t, "username: u\npassword: p\n")},
		{Host: "b.example", File: file(t, `{"token": "tok"}`)},
		{Host: "*.corp.example", File: file(t, "identityToken: idt")},
		{Host: "registry-1.docker.io", DockerConfig: docker}, {Host: "ghcr.io", DockerConfig: docker},
		{Host: "id.example", DockerConfig: docker}, {Host: "plain.example", DockerConfig: docker},
	})
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]authn.AuthConfig{
		"a.example:5000/x": {Username: "u", Password: "p"}, "b.example/x": {RegistryToken: "tok"}, "x.corp.example/y": {IdentityToken: "idt"},
		"alpine": {Username: "docker", Password: "p:w"}, "docker.io/team/x": {Username: "docker", Password: "p:w"},
		"ghcr.io/x": {Username: "g", Password: "h"}, "ghcr.io/team/x": {Username: "team", Password: "t"}, "ghcr.io/team": {Username: "team", Password: "t"},
		"ghcr.io/teams/x": {Username: "g", Password: "h"}, "plain.example/x": {RegistryToken: "reg"},
		"id.example/x": {Username: "00000000-0000-0000-0000-000000000000", IdentityToken: "id"},

		"a.example/x": {}, "a.example:5001/x": {}, "corp.example/x": {}, "quay.io/x": {}, "x.b.example/x": {},
	} {
		if diff := cmp.Diff(want, resolved(t, k, image)); diff != "" {
			t.Errorf("%s:\n%s", image, diff)
		}
	}
	if !k.Has("docker.io") || !k.Has("A.example:5000") || k.Has("a.example") {
		t.Error("Has is wrong")
	}
}

// Files that cannot be used are told of, all at once, and what is in them is
// not.
func TestCredentialsThatCannotBe(t *testing.T) {
	const s = "hunter2"
	for content, want := range map[string]string{
		"password: " + s: "come together",
		"username: " + s: "come together",
		"pasword: " + s:  "no YAML",
		"- " + s:         "no YAML",
		s + ": [":        "no YAML",
		"":               "neither",
		"token: ''":      "neither",
		strings.Repeat("# "+s+"\n", maxCredentials): "the most",
	} {
		_, err := NewKeychain([]Credentials{{Host: "a.example", File: file(t, content)}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), s) || !strings.Contains(err.Error(), "a.example") {
			t.Errorf("%.50q: %v", content, err)
		}
	}
	for content, want := range map[string]string{
		`{"auths":{},"credsStore":"` + s + `"}`:                                                   "credsStore",
		`{"auths":{},"credHelpers":{"a.example":"` + s + `"}}`:                                    "credHelpers",
		`{"auths":{"a.example":{"auth":"` + s + `!"}}}`:                                           "base64",
		`{"auths":{"a.example":{"auth":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `"}}}`: "base64",
		`{"auths":["` + s + `"]}`:                                                                 "config.json",
		s:                                                                                         "config.json",
		`{"auths":{"b.example":{"username":"` + s + `","password":"x"}}}`: "nothing below auths",
	} {
		_, err := NewKeychain([]Credentials{{Host: "a.example", DockerConfig: file(t, content)}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), s) || !strings.Contains(err.Error(), "a.example") {
			t.Errorf("%.50q: %v", content, err)
		}
	}
	_, err := NewKeychain([]Credentials{
		{Host: "a.example", File: "/does/not/exist"}, {Host: "b.example"}, {Host: "c.example", File: "x", DockerConfig: "y"},
		{Host: "docker.io", File: file(t, "token: x")}, {Host: "index.docker.io", File: file(t, "token: x")},
	})
	if err == nil || strings.Count(err.Error(), "\n") != 3 || !strings.Contains(err.Error(), "/does/not/exist") || !strings.Contains(err.Error(), "twice") {
		t.Errorf("%v", err)
	}
}

// A file that was replaced is what the next handshake uses.
func TestCredentialsAreReplaced(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "second" {
			w.Header().Set("WWW-Authenticate", `Basic realm="lab"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		ranged(some(10))(w, r)
	}))
	f := file(t, "username: u\npassword: first")
	k, err := NewKeychain([]Credentials{{Host: registryHost, File: f}})
	if err != nil {
		t.Fatal(err)
	}
	o := l.origin(Config{Keychain: k})
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); !refusedWith(err, 401) {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(f, []byte("username: u\npassword: second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, o, piece.Digest{1}, 0, -1); err != nil {
		t.Errorf("%v", err)
	}
	// A caller without credentials gets none of the node's.
	if a, err := o.Anonymous().HeadBlob(deadline(t), registryHost, repo, piece.Digest{1}); err != nil || a.Status != 401 || a.Challenge.Scheme != "Basic" {
		t.Errorf("anonymous: %+v, %v", a, err)
	}
}

// An identity token is traded in; where the token server does not know how,
// an anonymous token has to do.
func TestIdentityToken(t *testing.T) {
	for _, knows := range []bool{true, false} {
		l := newLab(t)
		g := l.guard(ranged(some(10)))
		l.serve(tokenHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				g.issue(w, r)
				return
			}
			if !knows {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			if r.PostFormValue("grant_type") != "refresh_token" || r.PostFormValue("refresh_token") != "idt" || r.PostFormValue("scope") != "repository:"+repo+":pull" || r.PostFormValue("service") != "lab" {
				t.Errorf("traded with %v", r.PostForm)
			}
			_, _ = io.WriteString(w, `{"access_token":"first"}`)
		}))
		k, err := NewKeychain([]Credentials{{Host: registryHost, File: file(t, "identityToken: idt")}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(t, l.origin(Config{Keychain: k}), piece.Digest{1}, 0, -1); err != nil {
			t.Errorf("knows %v: %v", knows, err)
		}
	}
}

// A token server's redirect is not followed: what it was sent is for it alone.
func TestTokenServersRedirect(t *testing.T) {
	l := newLab(t)
	l.guard(ranged(some(10)))
	l.serve(tokenHost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+storageHost+"/token", http.StatusTemporaryRedirect)
	}))
	l.serve(storageHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"first"}`) }))
	k, err := NewKeychain([]Credentials{{Host: registryHost, File: file(t, "username: u\npassword: hunter2")}})
	if err != nil {
		t.Fatal(err)
	}
	o := l.origin(Config{Keychain: k})
	_, _, err = read(t, o, piece.Digest{1}, 0, -1)
	if err == nil || !strings.Contains(err.Error(), "redirect of a token server") || len(l.asked(storageHost)) != 0 {
		t.Errorf("%v", err)
	}
	if s := fmt.Sprintf("%v", err); strings.Contains(s, "hunter2") {
		t.Error(s)
	}
}

// Of tokens only those that fit a header are taken.
func TestTokensThatAreNone(t *testing.T) {
	for _, answer := range []string{
		`{}`, `{"token":""}`, `{"token":"a b"}`, `{"token":"a\r\nX: y"}`, `{"token":"ä"}`, `{"token":1}`, `[]`, ``,
		`{"token":"` + strings.Repeat("x", maxToken) + `"}`,
	} {
		l := newLab(t)
		l.guard(ranged(some(10)))
		l.serve(tokenHost, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
		if _, _, err := read(t, l.origin(Config{}), piece.Digest{1}, 0, -1); err == nil || !strings.Contains(err.Error(), "no token") {
			t.Errorf("%.50q: %v", answer, err)
		}
	}
}
