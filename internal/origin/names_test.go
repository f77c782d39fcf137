package origin

import (
	"errors"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/pkg/piece"
)

func TestHosts(t *testing.T) {
	const (
		refused  = iota
		listed   // allowed if the operator lists it
		anywhere // allowed to AllowAll
	)
	for host, want := range map[string]int{
		"docker.io": anywhere, "registry.example:5000": anywhere, "Ghcr.IO": anywhere, "a-b.c_d.example:65535": anywhere,
		"1.example": anywhere, "localhost.example": anywhere,

		"localhost": listed, "localhost:5000": listed, "LOCALHOST": listed, "registry": listed, "x.localhost": listed,
		"localhost.localdomain": listed, "127.0.0.1": listed, "10.0.0.1:5000": listed, "8.8.8.8": listed, "127.1": listed,
		"2130706433": listed, "0x7f000001": listed, "0x7f.1": listed, "0177.0.0.1": listed, "a.0x": listed,
		"[::1]": listed, "[::1]:5000": listed, "[2001:db8::1]": listed, "[::ffff:127.0.0.1]:80": listed,

		"": refused, ".": refused, "a.": refused, ".a": refused, "a..b": refused, "-a.b": refused, "a-.b": refused,
		"a.b:": refused, "a.b:0": refused, "a.b:65536": refused, "a.b:080": refused, "a.b:+1": refused, "a.b:x": refused, "a.b:1:2": refused,
		"user@a.b": refused, "u:p@a.b": refused, "a.b/c": refused, "a.b?c": refused, "a.b#c": refused, "http://a.b": refused,
		"a%2eb": refused, "a b.c": refused, "a.b\n": refused, "a.b\x00": refused, "ä.de": refused, "a\\b": refused,
		"::1": refused, "[::1": refused, "[::1]x": refused, "[fe80::1%eth0]": refused, "[127.0.0.1]": refused, "[]": refused, "[a.b]": refused,
		strings.Repeat("a", 254): refused,
	} {
		_, err := New(Config{Registries: []Registry{{Host: host}}})
		if (err == nil) != (want != refused) {
			t.Errorf("%q listed: %v", host, err)
		}
		o, err := New(Config{AllowAll: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.Blob(host, repo, piece.Digest{1})
		_, unknown := errors.AsType[*UnknownRegistryError](err)
		if (err == nil) != (want == anywhere) || unknown != (want != anywhere) {
			t.Errorf("%q with AllowAll: %v", host, err)
		}
	}
}

// Only what is listed is allowed, in any case of letters, and the error names
// the host and the way out.
func TestUnknownRegistry(t *testing.T) {
	o, err := New(Config{Registries: []Registry{{Host: "Registry.example:5000"}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := o.Manifest("REGISTRY.example:5000", repo, piece.Digest{1})
	if err != nil || s.Host() != "registry.example:5000" {
		t.Errorf("%v", err)
	}
	for _, host := range []string{"registry.example", "registry.example:5001", "docker.io", "x.registry.example:5000"} {
		_, blobErr := o.Blob(host, repo, piece.Digest{1})
		_, manifestErr := o.Manifest(host, repo, piece.Digest{1})
		_, resolveErr := o.Resolve(t.Context(), host, repo, "latest")
		for _, err := range []error{blobErr, manifestErr, resolveErr} {
			unknown, ok := errors.AsType[*UnknownRegistryError](err)
			if !ok || unknown.Host != host || !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), "registries in the configuration") {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	if s, err := o.Blob("docker.io", repo, piece.Digest{1}); s != nil || err == nil {
		t.Errorf("%v, %v", s, err)
	}
}

func TestEndpoints(t *testing.T) {
	for endpoint, want := range map[string]string{
		"": "https://r.example:5000", "http://10.0.0.1:5000": "http://10.0.0.1:5000", "https://other.example/": "https://other.example",
		"HTTPS://Other.Example": "https://other.example", "http://[::1]:5000": "http://[::1]:5000", "https://docker.io": "https://index.docker.io",

		"other.example": "", "ftp://a": "", "https://": "", "https://a/v2": "", "https://a?x": "", "https://a?": "", "https://a#x": "",
		"https://user:secret@a": "", "https://a:99999": "", "https://a b": "", "https://%61": "", "https://a\x7f": "", "//a": "", "https:a": "",
	} {
		o, err := New(Config{Registries: []Registry{{Host: "r.example:5000", Endpoint: endpoint}}})
		if (err == nil) != (want != "") {
			t.Errorf("%q: %v", endpoint, err)
			continue
		}
		if err != nil {
			if strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "r.example:5000") {
				t.Errorf("%q: %v", endpoint, err)
			}
			continue
		}
		if u, err := endpointOf(o, "r.example:5000"); err != nil || u != want {
			t.Errorf("%q: %v, %v; want %s", endpoint, u, err, want)
		}
	}
	if _, err := New(Config{Registries: []Registry{{Host: "a.b"}, {Host: "A.B"}}}); err == nil {
		t.Error("a registry may be listed twice")
	}
}

// Docker Hub does not live where its images say.
func TestDockerHub(t *testing.T) {
	for _, cfg := range []Config{{AllowAll: true}, {Registries: []Registry{{Host: "docker.io"}}}} {
		o, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if u, err := endpointOf(o, "docker.io"); err != nil || u != "https://index.docker.io" {
			t.Errorf("%v, %v", u, err)
		}
		if s, err := o.Blob("docker.io", "library/alpine", piece.Digest{1}); err != nil || s.Host() != "docker.io" {
			t.Errorf("%v", err)
		}
	}
}

func TestRepositoriesAndTags(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, open(ranged(some(10))))
	o := l.origin(Config{})
	for name, ok := range map[string]bool{
		"a": true, "library/alpine": true, "a/b/c-d__e.f---g": true, strings.Repeat("a", 255): true,
		"": false, "A": false, "a//b": false, "/a": false, "a/": false, "..": false, "a/../b": false, "a b": false, "a:pull": false,
		"a?b": false, "a%2fb": false, "a\n": false, "a/b:pull repository:c": false, strings.Repeat("a", 256): false,
	} {
		_, blobErr := o.Blob(registryHost, name, piece.Digest{1})
		_, manifestErr := o.Manifest(registryHost, name, piece.Digest{1})
		if (blobErr == nil) != ok || (manifestErr == nil) != ok {
			t.Errorf("repository %q: %v, %v", name, blobErr, manifestErr)
		}
		if !ok {
			if _, err := o.Resolve(deadline(t), registryHost, name, "latest"); err == nil {
				t.Errorf("repository %q has tags", name)
			}
		}
	}
	for _, tag := range []string{"", ".a", "-a", "a/b", "../x", "a?b", "a b", "sha256:" + strings.Repeat("0", 64), strings.Repeat("a", 129)} {
		if _, err := o.Resolve(deadline(t), registryHost, repo, tag); err == nil {
			t.Errorf("tag %q can be asked for", tag)
		}
	}
	if n := len(l.asked(registryHost)) + l.pings(registryHost); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
}

// endpointOf is where the first endpoint of a host is.
func endpointOf(o *Origin, host string) (string, error) {
	up, err := o.upstream(host)
	if err != nil {
		return "", err
	}
	return up.endpoints[0].url.String(), nil
}
