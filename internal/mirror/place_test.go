package mirror

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// allowing is a world in which the operator allows some registries only.
type allowing struct {
	*world
	hosts map[string]bool
}

func (a allowing) Blob(host, repo string, d piece.Digest) (peer.Source, error) {
	if !a.hosts[host] {
		return nil, fmt.Errorf("%s: %w", host, ErrUnknownRegistry)
	}
	return a.world.Blob(host, repo, d)
}

func TestWhichRegistryIsMeant(t *testing.T) {
	d := piece.Sum([]byte("x")).String()
	allowed := map[string]bool{"docker.io": true, "quay.io": true, "localhost": true, "a.test:5000": true, "[::1]:5000": true}
	tests := []struct {
		path       string
		byDefault  string // the default registry
		host, repo string // empty host: refused
		code       string
	}{
		{"/v2/team/app/blobs/" + d + "?ns=quay.io", "docker.io", "quay.io", "team/app", ""},
		{"/v2/a.test/app/blobs/" + d + "?ns=quay.io", "", "quay.io", "a.test/app", ""},
		{"/v2/a.test:5000/app/blobs/" + d + "?ns=quay.io", "", "", "", codeNameInvalid},

		{"/v2/quay.io/team/app/blobs/" + d, "", "quay.io", "team/app", ""},
		{"/v2/quay.io/team/app/blobs/" + d, "docker.io", "quay.io", "team/app", ""},
		{"/v2/QUAY.io/app/blobs/" + d, "", "quay.io", "app", ""},
		{"/v2/localhost/app/blobs/" + d, "", "localhost", "app", ""},
		{"/v2/a.test:5000/app/blobs/" + d, "docker.io", "a.test:5000", "app", ""},
		{"/v2/a.test_5000/team/app/blobs/" + d, "", "a.test:5000", "team/app", ""},
		{"/v2/a.test_5000/app/blobs/" + d, "docker.io", "a.test:5000", "app", ""},
		{"/v2/other.test_5000/app/blobs/" + d, "docker.io", "docker.io", "other.test_5000/app", ""},
		{"/v2/team_1/app/blobs/" + d, "docker.io", "docker.io", "team_1/app", ""},
		{"/v2/[::1]:5000/app/blobs/" + d, "", "[::1]:5000", "app", ""},
		{"/v2/quay.io/blobs/blobs/blobs/" + d, "", "quay.io", "blobs/blobs", ""},
		{"/v2/quay.io/a.test/app/blobs/" + d, "", "quay.io", "a.test/app", ""},

		{"/v2/other.test/app/blobs/" + d, "", "other.test", "app", codeNameUnknown},
		{"/v2/other.test/app/blobs/" + d, "docker.io", "docker.io", "other.test/app", ""},
		{"/v2/other.test:5000/app/blobs/" + d, "docker.io", "other.test:5000", "app", codeNameUnknown},
		{"/v2/library/app/blobs/" + d, "docker.io", "docker.io", "library/app", ""},
		{"/v2/library/app/blobs/" + d, "", "", "", codeNameUnknown},
		{"/v2/quay.io/blobs/" + d, "docker.io", "docker.io", "quay.io", ""},
		{"/v2/quay.io/blobs/" + d, "", "", "", codeNameUnknown},

		{"/v2/quay.io/App/blobs/" + d, "docker.io", "", "", codeNameInvalid},
		{"/v2/quay.io//app/blobs/" + d, "docker.io", "", "", codeNameInvalid},
		{"/v2/quay.io/../app/blobs/" + d, "docker.io", "", "", codeNameInvalid},
		{"/v2/u@quay.io/app/blobs/" + d, "docker.io", "", "", codeNameInvalid},
		{"/v2/quay.io:0/app/blobs/" + d, "docker.io", "", "", codeNameInvalid},
		{"/v2/.quay.io/app/blobs/" + d, "docker.io", "", "", codeNameInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.path[:len(tt.path)-len(d)]+" with "+tt.byDefault, func(t *testing.T) {
			w := newWorld()
			lab := newLab(t, w, Config{DefaultRegistry: tt.byDefault, Registries: allowing{w, allowed}})
			w.add([]byte("x"))
			a := lab.do("GET", tt.path)
			code, _ := a.errorBody()
			if tt.code != "" {
				if code != tt.code || a.status != http.StatusBadRequest && a.status != http.StatusNotFound {
					t.Errorf("got %d %q, want %s", a.status, code, tt.code)
				}
				return
			}
			if a.status != http.StatusOK {
				t.Fatalf("got %d %s", a.status, a.body)
			}
			if s := w.openings()[0].source; s.host != tt.host || s.repo != tt.repo {
				t.Errorf("read as %s of %s, want %s of %s", s.repo, s.host, tt.repo, tt.host)
			}
		})
	}
}

// Sizes that a manifest told by one way of naming are known by the others.
func TestWaysOfNamingMeanTheSame(t *testing.T) {
	w := newWorld()
	layer, _ := w.add(pattern(100))
	manifest, _ := w.add(imageManifest(layer, 100, layer, 100))
	lab := newLab(t, w, Config{})
	prefix := "/v2/" + testHost + "/" + testRepo
	if a := lab.do("GET", prefix+"/manifests/"+manifest.String()); a.status != 200 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	for _, path := range []string{blobPath(layer), prefix + "/blobs/" + layer.String()} {
		if a := lab.do("GET", path); a.status != 200 {
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	for _, o := range w.openings()[1:] {
		if want := (opening{layer, 100, fakeSource{"blobs", testHost, testRepo, layer}}); o != want {
			t.Errorf("opened %+v, want %+v", o, want)
		}
	}
}
