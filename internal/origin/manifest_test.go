package origin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// An image that go-containerregistry pushed to its own registry is resolved
// and read as it was pushed.
func TestRegistryOfGoContainerRegistry(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	o := l.origin(Config{})
	image, err := random.Image(200_000, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(l.servers[registryHost].Listener.Addr().String() + "/" + repo + ":v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(deadline(t)), remote.WithTransport(l.servers[registryHost].Client().Transport)); err != nil {
		t.Fatal(err)
	}
	want, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := image.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	d, err := o.Resolve(deadline(t), registryHost, repo, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Descriptor{Digest: piece.Sum(want), Size: int64(len(want)), MediaType: string(mediaType)}, d); diff != "" {
		t.Error(diff)
	}
	m, err := o.Manifest(registryHost, repo, d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if got, size, err := readAll(t, m, 0, d.Size); err != nil || size != d.Size || !bytes.Equal(got, want) {
		t.Errorf("manifest: %d bytes of %d, %v", len(got), size, err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		h, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digest, err := piece.ParseDigest(h.String())
		if err != nil {
			t.Fatal(err)
		}
		r, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got, size, err := read(t, o, digest, 1000, 100_000)
		if err != nil || size != int64(len(content)) || !bytes.Equal(got, content[1000:101_000]) {
			t.Errorf("layer: %d bytes of %d, %v", len(got), size, err)
		}
	}
	if _, err := o.Resolve(deadline(t), registryHost, repo, "v2"); !refusedWith(err, 404) {
		t.Errorf("a tag that is not there: %v", err)
	}
}

func readAll(t *testing.T, s peer.Source, off, n int64) ([]byte, int64, error) {
	t.Helper()
	body, size, err := s.Read(deadline(t), off, n)
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return b, size, err
}

// What a tag stands for is told by HEAD, or found out by GET.
func TestResolve(t *testing.T) {
	content := []byte(`{"schemaVersion":2}`)
	d := piece.Sum(content)
	other := piece.Digest{1}
	sized := fmt.Sprint(len(content))
	for name, c := range map[string]struct {
		head map[string]string // headers; ":status" is what it says
		get  map[string]string
		want Descriptor
		gets int
		err  string
	}{
		"by HEAD": {
			head: map[string]string{digestHeader: other.String(), "Content-Length": "77", "Content-Type": ociManifest + "; charset=utf-8"},
			want: Descriptor{other, 77, ociManifest, 0},
		},
		"no digest": {
			head: map[string]string{"Content-Length": sized}, get: map[string]string{"Content-Type": ociManifest},
			want: Descriptor{d, int64(len(content)), ociManifest, 0}, gets: 1,
		},
		"a digest of another algorithm": {
			head: map[string]string{"Content-Length": sized, digestHeader: "sha512:" + strings.Repeat("0", 128)},
			get:  map[string]string{"Content-Type": ociManifest, digestHeader: "sha512:" + strings.Repeat("0", 128)},
			want: Descriptor{d, int64(len(content)), ociManifest, 0}, gets: 1,
		},
		"a length of 0": {
			head: map[string]string{digestHeader: d.String(), "Content-Length": "0"}, get: map[string]string{digestHeader: d.String()},
			want: Descriptor{d, int64(len(content)), "text/plain", 0}, gets: 1,
		},
		"HEAD not allowed": {
			head: map[string]string{":status": "405"}, get: map[string]string{"Content-Type": "not a type;;"},
			want: Descriptor{d, int64(len(content)), "", 0}, gets: 1,
		},
		"another digest than its bytes'": {
			head: map[string]string{":status": "405"}, get: map[string]string{digestHeader: other.String()}, gets: 1, err: "its bytes are",
		},
		"GET refused as well": {
			head: map[string]string{":status": "405"}, get: map[string]string{":status": "503"}, gets: 1, err: "origin answered 503",
		},
		"not there": {head: map[string]string{":status": "404"}, err: "origin answered 404"},
		"too large": {head: map[string]string{digestHeader: d.String(), "Content-Length": "4194305"}, err: "the most that is read"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
				headers := c.get
				if r.Method == http.MethodHead {
					headers = c.head
				}
				status := http.StatusOK
				for k, v := range headers {
					if k == ":status" {
						_, _ = fmt.Sscan(v, &status)
						continue
					}
					w.Header().Set(k, v)
				}
				if w.Header().Get("Content-Type") == "" {
					w.Header().Set("Content-Type", "text/plain")
				}
				w.WriteHeader(status)
				if r.Method == http.MethodGet {
					_, _ = w.Write(content)
				}
			}))
			got, err := l.origin(Config{}).Resolve(deadline(t), registryHost, repo, "v1")
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) || c.err == "" && (err != nil || got != c.want) {
				t.Errorf("%+v, %v; want %+v, %q", got, err, c.want, c.err)
			}
			asked := l.asked(registryHost)
			if len(asked) != 1+c.gets {
				t.Errorf("%d requests", len(asked))
			}
			for _, s := range asked {
				if s.path != "/v2/"+repo+"/manifests/v1" || s.header.Get("Accept") != accept {
					t.Errorf("asked %s, Accept %q", s.path, s.header.Get("Accept"))
				}
			}
		})
	}
}

func TestAcceptedManifests(t *testing.T) {
	for _, want := range []string{
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
	} {
		if !strings.Contains(accept, want) {
			t.Errorf("%s is not accepted", want)
		}
	}
}

// A manifest is read whole, with its length told or not; Range is never sent.
func TestManifestRead(t *testing.T) {
	content := some(3000)
	for _, chunked := range []bool{false, true} {
		l := newLab(t)
		l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
			if chunked {
				_ = http.NewResponseController(w).Flush()
			} else {
				w.Header().Set("Content-Length", "3000")
			}
			_, _ = w.Write(content)
		}))
		o := l.origin(Config{})
		m, err := o.Manifest(registryHost, repo, piece.Sum(content))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int64{-1, 3000, 1000, 4000} {
			want := content
			if n == 1000 {
				want = content[:n]
			}
			if got, size, err := readAll(t, m, 0, n); err != nil || size != 3000 || !bytes.Equal(got, want) {
				t.Errorf("chunked %v, %d bytes: %d of %d, %v", chunked, n, len(got), size, err)
			}
		}
		if size, err := m.Stat(deadline(t)); size != 3000 || err != nil {
			t.Errorf("chunked %v: size %d, %v", chunked, size, err)
		}
		before := len(l.asked(registryHost))
		for _, c := range []struct {
			off, n int64
			none   bool
		}{{1, 10, true}, {1, -1, true}, {0, 0, false}, {-1, -1, false}} {
			if _, _, err := m.Read(deadline(t), c.off, c.n); err == nil || errors.Is(err, peer.ErrNoRange) != c.none {
				t.Errorf("[%d, +%d): %v", c.off, c.n, err)
			}
		}
		asked := l.asked(registryHost)
		if len(asked) != before {
			t.Error("reads that cannot be were asked for")
		}
		for _, s := range asked {
			if s.header.Get("Range") != "" {
				t.Errorf("Range %q", s.header.Get("Range"))
			}
		}
		if o.Stats().Inflight != 0 {
			t.Errorf("chunked %v: %d requests left", chunked, o.Stats().Inflight)
		}
	}
}

// A manifest above the limit is refused whatever its length is said to be,
// and not read further than that.
func TestHugeManifest(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"told": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4194305")
			w.WriteHeader(http.StatusOK)
		},
		"not told": func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			for range 8 { // bounded: an answer to HEAD can be written for ever
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
	} {
		l := newLab(t)
		l.serve(registryHost, open(h))
		o := l.origin(Config{})
		m, err := o.Manifest(registryHost, repo, piece.Digest{1})
		if err != nil {
			t.Fatal(err)
		}
		_, _, readErr := readAll(t, m, 0, -1)
		_, statErr := m.Stat(deadline(t))
		for _, err := range []error{readErr, statErr} {
			if err == nil || !strings.Contains(err.Error(), "the most that is read is 4194304") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s := o.Stats(); s.Bytes > 2*(MaxManifest+1) || s.Inflight != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestHostileManifests(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 x\nContent-Length: 20\n\n0123":                            "unexpected EOF",
		"HTTP/1.1 206 x\nContent-Range: bytes 0-3/4\nContent-Length: 4\n\n0123": "all was asked for",
		"HTTP/1.1 200 x\nTransfer-Encoding: chunked\n\n0\n\n":                   "empty",
		"HTTP/1.1 200 x\nTransfer-Encoding: chunked\n\n4\n01":                   "unexpected EOF",
		"HTTP/1.1 200 x\nContent-Encoding: gzip\nContent-Length: 4\n\n0123":     "gzip",
	} {
		l := newLab(t)
		l.serve(registryHost, open(raw(answer)))
		m, err := l.origin(Config{}).Manifest(registryHost, repo, piece.Digest{1})
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := readAll(t, m, 0, -1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", answer, got, err)
		}
	}
}
