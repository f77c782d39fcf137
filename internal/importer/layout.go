package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Names in an OCI layout (image-spec, image-layout.md).
const (
	layoutIndex = "index.json"
	layoutBlobs = "blobs/sha256/"
)

// Annotations that name an image: containerd's whole name comes first, OCI's
// is often the tag alone.
var nameAnnotations = []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"}

// walk is an OCI layout that is being read into an archive.
type walk struct {
	files
	into *Archive
	seen map[piece.Digest]bool
}

// readLayout takes the images of an OCI layout.
func (a *Archive) readLayout(f files) error {
	raw, err := readAll(f, layoutIndex)
	if err != nil {
		return err
	}
	top, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("%s: %w", layoutIndex, err)
	}
	if len(top.Manifests) == 0 {
		return fmt.Errorf("%s lists no image", layoutIndex)
	}
	l := &walk{files: f, into: a, seen: make(map[piece.Digest]bool)}
	for _, m := range top.Manifests {
		d, err := digestOf(m)
		if err != nil {
			return fmt.Errorf("%s: %w", layoutIndex, err)
		}
		img := Image{Digest: d}
		for _, key := range nameAnnotations {
			if img.Name == "" {
				img.Name = m.Annotations[key]
			}
		}
		if err := l.take(&img, m, 0); err != nil {
			return err
		}
		a.Images = append(a.Images, img)
	}
	return nil
}

func digestOf(m v1.Descriptor) (piece.Digest, error) {
	d, err := piece.ParseDigest(m.Digest.String())
	if err == nil && (m.Size < 0 || m.Size > piece.MaxBlobSize) {
		err = fmt.Errorf("%s has an impossible size, %d", d, m.Size)
	}
	return d, err
}

// take adds what a descriptor stands for, with all that it refers to.
func (l *walk) take(img *Image, m v1.Descriptor, depth int) error {
	d, err := digestOf(m)
	if err != nil {
		return err
	}
	if l.seen[d] {
		return nil
	}
	if depth >= maxDepth {
		return fmt.Errorf("%s: indexes are nested more than %d deep", d, maxDepth)
	}
	var children []v1.Descriptor
	kind := "layer"
	switch {
	case m.MediaType.IsIndex():
		kind = "index"
		index, err := parsed(l, d, v1.ParseIndexManifest)
		if err != nil {
			return err
		}
		children = l.present(img, index.Manifests)
	case m.MediaType.IsImage():
		kind = "manifest"
		manifest, err := parsed(l, d, v1.ParseManifest)
		if err != nil {
			return err
		}
		children = append(manifest.Layers, manifest.Config)
	case m.MediaType.IsConfig() || m.MediaType == types.DockerConfigJSON:
		kind = "config"
	}
	l.seen[d] = true
	for _, c := range children {
		if child, err := digestOf(c); err == nil && len(c.URLs) > 0 && !l.has(blobName(child)) {
			continue // it is to be had there, and not to be passed on
		}
		if err := l.take(img, c, depth+1); err != nil {
			return fmt.Errorf("%s %s: %w", kind, d.Short(), err)
		}
	}
	return l.add(d, m.Size, kind)
}

// present are those of an index's manifests that are in the archive: tools
// that export one platform keep the index of all.
func (l *walk) present(img *Image, all []v1.Descriptor) (here []v1.Descriptor) {
	for _, m := range all {
		if d, err := digestOf(m); err == nil && !l.has(blobName(d)) {
			img.Absent = append(img.Absent, d)
			continue
		}
		here = append(here, m)
	}
	return here
}

func blobName(d piece.Digest) string { return layoutBlobs + d.Hex() }

// parsed reads a manifest whose bytes are those of its digest.
func parsed[T any](l *walk, d piece.Digest, parse func(io.Reader) (T, error)) (m T, err error) {
	raw, err := readAll(l, blobName(d))
	if err != nil {
		return m, err
	}
	if got := piece.Sum(raw); got != d {
		return m, fmt.Errorf("%s is damaged: its content has digest %s", blobName(d), got)
	}
	if m, err = parse(bytes.NewReader(raw)); err != nil {
		err = fmt.Errorf("%s: %w", blobName(d), err)
	}
	return m, err
}

func (l *walk) add(d piece.Digest, size int64, kind string) error {
	name := blobName(d)
	r, got, err := l.open(name)
	if err != nil {
		return err
	}
	if err := r.Close(); err != nil {
		return err
	}
	if got != size {
		return fmt.Errorf("%s is damaged: %d bytes of %d", name, got, size)
	}
	if len(l.into.Blobs) >= maxBlobs {
		return errors.New("too many blobs")
	}
	l.into.Blobs = append(l.into.Blobs, Blob{Digest: d, Size: size, Kind: kind, Open: func() (io.ReadCloser, error) {
		r, _, err := l.open(name)
		return r, err
	}})
	return nil
}
