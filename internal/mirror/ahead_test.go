package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/pkg/piece"
)

// scout is an Ahead that remembers what it is told.
type scout struct {
	mu      sync.Mutex
	reading []piece.Digest
	next    [][]Wanted
}

func (s *scout) Prefetch(reading piece.Digest, next []Wanted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading, s.next = append(s.reading, reading), append(s.next, next)
}

// picky is an Access that refuses one digest, and without a credential all.
type picky struct {
	everybody
	no piece.Digest
}

func (a picky) Admit(ctx context.Context, q Asked, k Kind, d piece.Digest) (Grant, error) {
	if d == a.no || len(q.Authorization) == 0 {
		return nil, &RefusedError{Status: http.StatusNotFound, Reason: "not for you"}
	}
	return a.everybody.Admit(ctx, q, k, d)
}

// image puts an image of layers into w and returns its digests.
func image(t *testing.T, w *world, name string, layers int) (manifest piece.Digest, of []piece.Digest) {
	t.Helper()
	var list []map[string]any
	for i := range layers {
		content := fmt.Sprintf("%s %d", name, i)
		d, _ := w.add([]byte(content))
		of = append(of, d)
		list = append(list, map[string]any{"digest": d.String(), "size": len(content)})
	}
	body, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "layers": list})
	if err != nil {
		t.Fatal(err)
	}
	manifest, _ = w.add(body)
	return manifest, of
}

// What follows a layer is fetched ahead once a client has read the manifest and
// reads the layer, in its own name, as far as it may have it; and not for who
// asks for anything less, or may not have it.
func TestWhatIsFetchedAhead(t *testing.T) {
	const refused = 6
	for _, tt := range []struct {
		name     string
		manifest string // the method
		layer    int
		method   string
		span     string // the Range header
		token    []string
		want     []int // layers
	}{
		{name: "first", manifest: "GET", method: "GET", token: []string{"x"}, want: []int{1, 2, 3, 4, 5}},
		{name: "after what is held already", manifest: "GET", layer: 3, method: "GET", token: []string{"x"}, want: []int{4, 5}},
		{name: "parallel fetch", manifest: "GET", layer: 3, method: "GET", span: "bytes=0-", token: []string{"x"}, want: []int{4, 5}},
		{name: "its later parts", manifest: "GET", method: "GET", span: "bytes=3-", token: []string{"x"}},
		{name: "small part", manifest: "GET", method: "GET", span: "bytes=0-1", token: []string{"x"}},
		{name: "last", manifest: "GET", layer: 8, method: "GET", token: []string{"x"}},
		{name: "last that may be had", manifest: "GET", layer: 5, method: "GET", token: []string{"x"}},
		{name: "manifest HEAD", manifest: "HEAD", method: "GET", token: []string{"x"}},
		{name: "no manifest", method: "GET", token: []string{"x"}},
		{name: "layer HEAD", manifest: "GET", method: "HEAD", token: []string{"x"}},
		{name: "refused layer", manifest: "GET", layer: refused, method: "GET", token: []string{"x"}},
		{name: "refused client", manifest: "GET", method: "GET"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld()
			manifest, layers := image(t, w, "image", 9)
			s := &scout{}
			m, err := New(Config{Blobs: w, Registries: w, Access: picky{everybody{w}, layers[refused]}, Ahead: s})
			if err != nil {
				t.Fatal(err)
			}
			if tt.manifest != "" {
				answerOf(m, tt.manifest, "manifests/"+manifest.String(), "x")
			}
			if len(s.reading) > 0 {
				t.Error("fetched ahead for who reads the manifest alone")
			}
			r := httptest.NewRequest(tt.method, "/v2/a/blobs/"+layers[tt.layer].String()+"?ns="+testHost, nil)
			r.Header["Authorization"] = tt.token
			if tt.span != "" {
				r.Header.Set("Range", tt.span)
			}
			m.ServeHTTP(httptest.NewRecorder(), r)
			var reading []piece.Digest
			var next [][]Wanted
			if tt.want != nil {
				reading, next = []piece.Digest{layers[tt.layer]}, [][]Wanted{nil}
			}
			for _, i := range tt.want {
				next[0] = append(next[0], Wanted{layers[i], int64(len("image 0")), fakeSource{"blobs", testHost, "a", layers[i]}})
			}
			if diff := cmp.Diff(reading, s.reading); diff != "" {
				t.Errorf("reading (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(next, s.next, cmp.AllowUnexported(fakeSource{})); diff != "" {
				t.Errorf("next (-want +got):\n%s", diff)
			}
		})
	}
}

// A layer that cannot be opened, or is read in another repository, tells nothing.
func TestNothingIsFetchedAheadElsewhere(t *testing.T) {
	w := newWorld()
	manifest, layers := image(t, w, "image", 3)
	s := &scout{}
	m, err := New(Config{Blobs: w, Registries: w, Ahead: s})
	if err != nil {
		t.Fatal(err)
	}
	answerOf(m, http.MethodGet, "manifests/"+manifest.String())
	r := httptest.NewRequest(http.MethodGet, "/v2/b/blobs/"+layers[0].String()+"?ns="+testHost, nil)
	m.ServeHTTP(httptest.NewRecorder(), r)
	w.blobs[layers[0]].err = errors.New("no room")
	answerOf(m, http.MethodGet, "blobs/"+layers[0].String())
	if len(s.reading) > 0 {
		t.Errorf("fetched ahead: %v", s.next)
	}
}

// A layer that two images of late share does not tell which is pulled; those
// that they do not share do. What was read long ago tells nothing.
func TestAnImageIsRemembered(t *testing.T) {
	now := time.Now()
	at := func(names ...string) (ps []promise) {
		for _, name := range names {
			ps = append(ps, promise{piece.Sum([]byte(name)), 1})
		}
		return ps
	}
	s := newImages()
	after := func(name string, now time.Time) []promise {
		return s.after("h", "r", piece.Sum([]byte(name)), now)
	}
	one, two := piece.Sum([]byte("one")), piece.Sum([]byte("two"))
	for range 2 { // the same again changes nothing
		s.learn("h", "r", one, at("base", "a", "b"), now)
	}
	if diff := cmp.Diff(at("a", "b"), after("base", now), cmp.AllowUnexported(promise{})); diff != "" {
		t.Errorf("one image (-want +got):\n%s", diff)
	}
	s.learn("h", "r", two, at("base", "c", "d"), now)
	if got := after("base", now); len(got) != 0 {
		t.Errorf("a shared layer: %v", got)
	}
	for name, want := range map[string][]promise{"a": at("b"), "c": at("d")} {
		if diff := cmp.Diff(want, after(name, now), cmp.AllowUnexported(promise{})); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", name, diff)
		}
	}
	later := now.Add(imageFor + time.Second)
	if got := after("a", later); len(got) != 0 {
		t.Errorf("after long: %v", got)
	}
	s.learn("h", "r", two, at("base", "c", "d"), later)
	if got := after("base", later); len(got) != 2 {
		t.Errorf("once the other is forgotten: %v", got)
	}
}
