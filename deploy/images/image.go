package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// program is one of ours.
type program struct {
	name, about string
	user        string // UID:GID that it runs as
}

// tool is the program that is in each image besides, for who looks into a
// running container.
var tool = program{name: "p2pctl"}

// platformImage is a program's image for one platform, as linux/arm64.
type platformImage struct {
	platform     string
	binary, tool string
	v1.Image
}

// epoch is the time of everything in an image, so that it does not depend on
// when it was built.
var epoch = time.Unix(0, 0).UTC()

// image is a program's image for one platform: a layer that all have, the
// program, and the tool.
func (p program) image(platform, binary, toolBinary string, ca []byte) (v1.Image, error) {
	code, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	toolCode, err := os.ReadFile(toolBinary)
	if err != nil {
		return nil, err
	}
	base, err := layer(
		file{name: "etc/passwd", content: []byte("root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")},
		file{name: "etc/group", content: []byte("root:x:0:\nnonroot:x:65532:\n")},
		file{name: "etc/ssl/certs/ca-certificates.crt", content: ca},
	)
	if err != nil {
		return nil, err
	}
	own, err := layer(file{name: p.name, content: code, program: true})
	if err != nil {
		return nil, err
	}
	beside, err := layer(file{name: tool.name, content: toolCode, program: true})
	if err != nil {
		return nil, err
	}
	made, err := mutate.AppendLayers(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), base, beside, own)
	if err != nil {
		return nil, err
	}
	cfg, err := made.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture, _ = strings.Cut(platform, "/")
	cfg.Created = v1.Time{Time: epoch}
	cfg.Config = v1.Config{
		Entrypoint: []string{"/" + p.name}, User: p.user, WorkingDir: "/",
		Env: []string{"PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"},
		Labels: map[string]string{
			"org.opencontainers.image.title": p.name, "org.opencontainers.image.description": p.about,
			"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.source": "https://github.com/p2pd/p2pd",
		},
	}
	return mutate.ConfigFile(made, cfg)
}

// index is the image for all platforms.
func (p program) index(built []platformImage) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range built {
		platform, err := v1.ParsePlatform(b.platform)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: b.Image, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return index, nil
}

// file is one in an image; program makes it executable.
type file struct {
	name    string
	content []byte
	program bool
}

func layer(files ...file) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := make(map[string]bool)
	for _, f := range files {
		for i, c := range f.name { // its folders first
			if dir := f.name[:i]; c == '/' && !made[dir] {
				made[dir] = true
				if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch}); err != nil {
					return nil, err
				}
			}
		}
		mode := int64(0o644)
		if f.program {
			mode = 0o755
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: mode, Size: int64(len(f.content)), ModTime: epoch}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
}
