package lab

import (
	"archive/tar"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func spec() ImageSpec {
	return ImageSpec{Repository: "lab/app", Tag: "v1", Size: 1 << 20, Layers: 3, Synthetic: true, Seed: 7}
}

func TestSameSpecSameImage(t *testing.T) {
	describeSpec := func(s ImageSpec) Image {
		img, err := build(s)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.RootFS.Type != "layers" || len(config.RootFS.DiffIDs) != s.Layers || config.Architecture == "" || config.OS == "" {
			t.Errorf("a runtime would refuse the configuration %+v", config)
		}
		d, err := describe(s, img)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := describeSpec(spec())
	if diff := cmp.Diff(first, describeSpec(spec())); diff != "" {
		t.Errorf("the second image differs:\n%s", diff)
	}
	other := spec()
	other.Seed++
	if describeSpec(other).Digest == first.Digest {
		t.Error("another seed makes the same image")
	}
	for _, layer := range first.Blobs[1:] {
		if want := int64(1<<20) / 3 / 512 * 512; layer.Bytes != want {
			t.Errorf("a layer has %d bytes, want %d", layer.Bytes, want)
		}
	}
}

// Files of a tree become layers of exactly the asked size; a file larger than
// any layer is left out, and none is in two layers.
func TestTreeLayers(t *testing.T) {
	root := t.TempDir()
	for file, size := range map[string]int{"a/1": 10_000, "a/2": 700, "b/large": 300_000, "b/3": 25_000, "c": 0, strings.Repeat("n", 120): 1} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const share = 40 << 10
	layers, err := treeLayers(root, 2, share)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int)
	for _, l := range layers {
		if l.size != share {
			t.Errorf("a layer has %d bytes, want %d", l.size, share)
		}
		content, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(content)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			found[h.Name]++
		}
		if err := content.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{"go/a/1": 1, "go/a/2": 1, "go/b/3": 1, "go/c": 1, "data/padding-0": 1, "data/padding-1": 1}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

// spoiler is a registry that may spoil the bodies of blobs.
func spoiler(t *testing.T, spoil bool) *httptest.Server {
	t.Helper()
	inner := registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if spoil && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			w = &spoiled{ResponseWriter: w}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	img, err := build(spec())
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.TrimPrefix(s.URL, "http://") + "/lab/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	if err := remote.Write(ref, img, remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}
	return s
}

type spoiled struct{ http.ResponseWriter }

func (s *spoiled) Write(p []byte) (int, error) {
	q := append([]byte(nil), p...)
	if len(q) > 0 {
		q[0] ^= 1
	}
	return s.ResponseWriter.Write(q)
}

// described is what the test image is, by its recipe.
func described(t *testing.T) Image {
	t.Helper()
	img, err := build(spec())
	if err != nil {
		t.Fatal(err)
	}
	want, err := describe(spec(), img)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func TestClientPulls(t *testing.T) {
	s := spoiler(t, false)
	want := described(t)
	report, err := Pull(t.Context(), PullSpec{Base: s.URL, Repository: "lab/app", Tag: "v1", Known: want.Blobs})
	if err != nil {
		t.Fatal(err)
	}
	var blobs []Blob
	for i, b := range report.Blobs {
		blobs = append(blobs, Blob{b.Digest, b.Bytes, want.Blobs[i].CRC})
	}
	if diff := cmp.Diff(want.Blobs, blobs); diff != "" || report.Digest != want.Digest || report.Bytes != want.Bytes {
		t.Errorf("pulled %s of %d bytes, want %s of %d; blobs (-want +got):\n%s", report.Digest, report.Bytes, want.Digest, want.Bytes, diff)
	}
}

func TestClientNoticesFalseBytes(t *testing.T) {
	s := spoiler(t, true)
	for _, known := range [][]Blob{nil, described(t).Blobs} {
		pull := PullSpec{Base: s.URL, Repository: "lab/app", Tag: "v1", Known: known}
		if report, err := Pull(t.Context(), pull); err == nil {
			t.Errorf("false bytes were accepted, with %d blobs known: %+v", len(known), report)
		}
	}
}
