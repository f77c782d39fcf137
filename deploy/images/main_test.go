package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// What is pushed twice is the same, can be run, and says what it is made of.
func TestImages(t *testing.T) {
	t.Chdir("../..")
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("authorities\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(srv.URL, "http://")
	var printed [2]strings.Builder
	for i := range printed {
		err := run(t.Context(), []string{"-repository", host + "/p2pd", "-tag", "1", "-ca", ca, "-plain-http", "-platforms", "linux/amd64"}, &printed[i])
		if err != nil {
			t.Fatal(err)
		}
	}
	if printed[0].String() != printed[1].String() {
		t.Errorf("pushed\n%sand then\n%s", &printed[0], &printed[1])
	}
	for _, p := range programs {
		ref, err := name.ParseReference(host + "/p2pd/" + p.name + ":1")
		if err != nil {
			t.Fatal(err)
		}
		image, err := remote.Image(ref, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Config.User != p.user || cfg.Config.Entrypoint[0] != "/"+p.name {
			t.Errorf("%s runs as %+v", p.name, cfg.Config)
		}
		wantFiles(t, image, map[string]int64{p.name: 0o755, "p2pctl": 0o755, "etc/ssl/certs/ca-certificates.crt": 0o644, "etc/passwd": 0o644})
		wantBill(t, ref, image, "google.golang.org/grpc")
		wantBill(t, ref, image, "github.com/google/go-containerregistry") // p2pctl's
	}
}

// wantFiles holds the files' modes against those wanted.
func wantFiles(t *testing.T, image v1.Image, want map[string]int64) {
	t.Helper()
	content := mutate.Extract(image)
	defer content.Close()
	modes := make(map[string]int64)
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		modes[h.Name] = h.Mode
	}
	for name, mode := range want {
		if modes[name] != mode {
			t.Errorf("%s has mode %o, want %o", name, modes[name], mode)
		}
	}
}

// wantBill looks for a module in the bill of materials that refers to image.
func wantBill(t *testing.T, ref name.Reference, image v1.Image, module string) {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Referrers(ref.Context().Digest(digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	found, err := index.IndexManifest()
	if err != nil || len(found.Manifests) != 1 {
		t.Fatalf("%v, %v; want one bill of materials", found, err)
	}
	bill, err := remote.Image(ref.Context().Digest(found.Manifests[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := bill.Layers()
	if err != nil {
		t.Fatal(err)
	}
	text, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	var doc struct{ Packages []spdxPackage }
	if err := json.NewDecoder(text).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	for _, p := range doc.Packages {
		if p.Name == module {
			return
		}
	}
	t.Errorf("%s is not among %v", module, doc.Packages)
}

// What is missing is named.
func TestUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"-repository and -tag": {"-tag", "1"},
		"no authorities":       {"-repository", "r.example/p2pd", "-tag", "1", "-ca", "/nowhere"},
		"OS/ARCHITECTURE":      {"-repository", "r.example/p2pd", "-tag", "1", "-platforms", "amd64"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}
