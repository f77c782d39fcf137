package origin

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/pkg/piece"
)

// requests is how many messages of a kind there were whose code begins so.
func requests(s Stats, kind, code string) (n int64) {
	for r, count := range s.Requests {
		if r.Kind == kind && strings.HasPrefix(r.Code, code) {
			n += count
		}
	}
	return n
}

// Registries are counted by the entry of the configuration that they fall
// under, and all others as one.
func TestLabels(t *testing.T) {
	t.Parallel()
	o, err := New(Config{AllowAll: true, Registries: []Registry{{Host: "index.docker.io"}, {Host: "*.Corp.example"}, {Host: "r.corp.example:5000"}}})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"docker.io": "docker.io", "registry-1.docker.io": "docker.io", "a.corp.example": "*.corp.example",
		"R.corp.example:5000": "r.corp.example:5000", "quay.io": OtherRegistry, "": OtherRegistry,
	} {
		got := o.Label(host)
		if got != want {
			t.Errorf("%q is called %q, want %q", host, got, want)
		}
		if !slices.Contains(o.Labels(), got) {
			t.Errorf("%q is not among %q", got, o.Labels())
		}
	}
}

// What a registry answers is counted with it, the 429 from the start.
func TestRequestsAreCountedByRegistry(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	status := http.StatusTooManyRequests
	l.serve(registryHost, open(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "{}")
	}))
	o := l.origin(Config{})
	tooMany := Request{registryHost, "blob_get", "429"}
	if n, there := o.Stats().Requests[tooMany]; n != 0 || !there {
		t.Errorf("before: %d, %v", n, there)
	}
	for range 2 {
		if _, _, err := read(t, o, piece.Digest{1}, 0, 5); err == nil {
			t.Fatal("no error")
		}
		status = http.StatusTeapot
	}
	got := map[Request]int64{}
	for r, n := range o.Stats().Requests {
		if n > 0 {
			got[r] = n
		}
	}
	want := map[Request]int64{tooMany: 1, {registryHost, "blob_get", "4xx"}: 1, {registryHost, "auth", "200"}: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}
