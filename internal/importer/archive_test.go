package importer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/p2pd/p2pd/pkg/piece"
)

func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(10_000, 3)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// layoutDir writes an OCI layout with an index of two platforms and an image.
func layoutDir(t *testing.T) (dir string, index v1.ImageIndex, single v1.Image) {
	t.Helper()
	index = mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: image(t)}, mutate.IndexAddendum{Add: image(t)})
	single = image(t)
	dir = t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "two"})); err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(single, layout.WithAnnotations(map[string]string{
		"io.containerd.image.name": "r.example/one:1", "org.opencontainers.image.ref.name": "1",
	})); err != nil {
		t.Fatal(err)
	}
	return dir, index, single
}

// tarOf packs a folder, names beginning as some tools write them.
func tarOf(t *testing.T, dir string, more ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range more {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := w.WriteHeader(&tar.Header{Name: "./" + rel, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// check reads every blob and returns kinds by digest.
func check(t *testing.T, a *Archive) map[piece.Digest]string {
	t.Helper()
	kinds := make(map[piece.Digest]string)
	for _, b := range a.Blobs {
		if kinds[b.Digest] != "" {
			t.Errorf("%s comes twice", b.Digest)
		}
		kinds[b.Digest] = b.Kind
		r, err := b.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil || piece.Sum(content) != b.Digest || int64(len(content)) != b.Size {
			t.Errorf("%s %s: %d of %d bytes, %v", b.Kind, b.Digest, len(content), b.Size, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	return kinds
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) piece.Digest {
	t.Helper()
	h, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	d, err := piece.ParseDigest(h.String())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// An OCI layout is read in each of its forms, with all that it names.
func TestLayouts(t *testing.T) {
	dir, index, single := layoutDir(t)
	packed := tarOf(t, dir)
	for form, path := range map[string]string{
		"folder": dir, "tar": write(t, packed), "tar.gz": write(t, gzipped(t, packed)), "stdin": "-", "stdin.gz": "-",
	} {
		stdin := packed
		if form == "stdin.gz" {
			stdin = gzipped(t, packed)
		}
		temporary := t.TempDir()
		t.Setenv("TMPDIR", temporary)
		a, err := Open(path, bytes.NewReader(stdin))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		want := []Image{{Name: "two", Digest: digest(t, index)}, {Name: "r.example/one:1", Digest: digest(t, single)}}
		if diff := cmp.Diff(want, a.Images); diff != "" {
			t.Errorf("%s: %s", form, diff)
		}
		kinds := check(t, a)
		count := make(map[string]int)
		for _, k := range kinds {
			count[k]++
		}
		if diff := cmp.Diff(map[string]int{"layer": 9, "config": 3, "manifest": 3, "index": 1}, count); diff != "" {
			t.Errorf("%s: %s", form, diff)
		}
		if last := a.Blobs[len(a.Blobs)-1]; last.Digest != digest(t, single) {
			t.Errorf("%s: a manifest does not come after its blobs: the last is a %s", form, last.Kind)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left behind, %v", form, left, err)
		}
	}
}

// What docker save wrote before it knew OCI layouts.
func TestDockerSave(t *testing.T) {
	one, two := image(t), image(t)
	tags := map[name.Tag]v1.Image{}
	for ref, img := range map[string]v1.Image{"r.example/one:1": one, "r.example/two:2": two} {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		tags[tag] = img
	}
	var out bytes.Buffer
	if err := tarball.MultiWrite(tags, &out); err != nil {
		t.Fatal(err)
	}
	a, err := Open(write(t, out.Bytes()), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	kinds := check(t, a)
	if len(a.Images) != 2 {
		t.Fatalf("%+v", a.Images)
	}
	for _, img := range a.Images {
		if kinds[img.Digest] != "manifest" || !strings.HasPrefix(img.Name, "r.example/") {
			t.Errorf("%+v is a %q", img, kinds[img.Digest])
		}
	}
	// A configuration is kept to the byte, whatever becomes of the manifest.
	h, err := one.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	if d, err := piece.ParseDigest(h.String()); err != nil || kinds[d] != "config" {
		t.Errorf("the configuration %s is not there", h)
	}
}

// An index keeps what its tool did not export; nothing else may be missing.
func TestWhatIsMissing(t *testing.T) {
	dir, index, single := layoutDir(t)
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	absent, err := piece.ParseDigest(list.Manifests[0].Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	blob := func(d piece.Digest) string { return filepath.Join(dir, "blobs", "sha256", d.Hex()) }
	if err := os.Remove(blob(absent)); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]piece.Digest{absent}, a.Images[0].Absent); diff != "" {
		t.Error(diff)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	config, err := single.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	d, err := piece.ParseDigest(config.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(blob(d), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), "damaged: 5 bytes") {
		t.Errorf("a cut blob: %v", err)
	}
	if err := os.Remove(blob(d)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); err == nil || !strings.Contains(err.Error(), d.Hex()) {
		t.Errorf("a missing blob: %v", err)
	}
}

// What is no image is refused with a reason, and no name leads out.
func TestRefusals(t *testing.T) {
	dir, _, _ := layoutDir(t)
	packed := tarOf(t, dir)
	var nothing bytes.Buffer
	if err := tar.NewWriter(&nothing).Close(); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	secret := piece.Sum([]byte("secret"))
	if err := os.WriteFile(filepath.Join(outside, "s"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(outside, "blobs"), 0o700); err != nil {
		t.Fatal(err)
	}
	linked := filepath.Join(outside, "layout")
	if err := os.MkdirAll(filepath.Join(linked, "blobs", "sha256"), 0o700); err != nil {
		t.Fatal(err)
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/octet-stream","digest":%q,"size":6}]}`, secret)
	if err := os.WriteFile(filepath.Join(linked, "index.json"), []byte(index), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "s"), filepath.Join(linked, "blobs", "sha256", secret.Hex())); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ path, want string }{
		"no such file":          {filepath.Join(dir, "none"), "no such file"},
		"text":                  {write(t, []byte(strings.Repeat("text ", 1000))), "not a tar archive"},
		"empty file":            {write(t, nil), "neither an OCI layout"},
		"empty tar":             {write(t, nothing.Bytes()), "neither an OCI layout"},
		"cut in the middle":     {write(t, packed[:len(packed)/2]), ""},
		"gzip cut":              {write(t, gzipped(t, packed)[:2000]), "unexpected EOF"},
		"no layout":             {t.TempDir(), "no OCI layout"},
		"a link that leads out": {linked, secret.Hex()},
	} {
		a, err := Open(tt.path, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), tt.path) {
			t.Errorf("%s: %v", name, err)
		}
		if a != nil {
			t.Errorf("%s: an archive", name)
		}
	}
	// A tar's links are followed by nobody.
	a, err := Open(write(t, tarOf(t, dir, &tar.Header{Name: "../x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"})), nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, a)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// Whatever a file holds, reading it ends in an archive or an error.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}]}`))
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":-1}]}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, layoutIndex), index, 0o600); err != nil {
			t.Fatal(err)
		}
		if a, err := Open(dir, nil); err == nil {
			_ = a.Close()
		}
	})
}
