package importer

import (
	"bytes"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/p2pd/p2pd/pkg/piece"
)

// dockerManifest lists the images of a `docker save` before version 25; later
// ones write an OCI layout besides.
const dockerManifest = "manifest.json"

// readDocker takes the images of an old `docker save`. It has no manifests,
// and its layers are not compressed: both are made here, so that the digests
// are not those of the registry that the image came from.
func (a *Archive) readDocker(t *tarFile) error {
	list, err := tarball.LoadManifest(t.all)
	if err != nil {
		return fmt.Errorf("%s: %w", dockerManifest, err)
	}
	if len(list) == 0 {
		return fmt.Errorf("%s lists no image", dockerManifest)
	}
	seen := make(map[piece.Digest]bool)
	for _, d := range list {
		var tag *name.Tag
		named := ""
		if len(d.RepoTags) > 0 {
			named = d.RepoTags[0]
			parsed, err := name.NewTag(named)
			if err != nil {
				return fmt.Errorf("%s: %w", dockerManifest, err)
			}
			tag = &parsed
		} else if len(list) > 1 {
			return fmt.Errorf("%s: image %s has no tag, and is not the only one; save it alone", dockerManifest, d.Config)
		}
		img, err := tarball.Image(t.all, tag)
		if err != nil {
			return fmt.Errorf("image %q: %w", named, err)
		}
		if err := a.takeImage(named, img, seen); err != nil {
			return fmt.Errorf("image %q: %w", named, err)
		}
	}
	return nil
}

// takeImage adds an image with all its blobs.
func (a *Archive) takeImage(named string, img v1.Image, seen map[piece.Digest]bool) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		h, err := l.Digest()
		if err != nil {
			return err
		}
		d, err := piece.ParseDigest(h.String())
		if err != nil {
			return err
		}
		size, err := l.Size()
		if err != nil {
			return err
		}
		a.addOnce(seen, Blob{Digest: d, Size: size, Kind: "layer", Open: l.Compressed})
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	a.addOnce(seen, inMemory("config", config))
	a.addOnce(seen, inMemory("manifest", manifest))
	a.Images = append(a.Images, Image{Name: named, Digest: piece.Sum(manifest)})
	return nil
}

func (a *Archive) addOnce(seen map[piece.Digest]bool, b Blob) {
	if !seen[b.Digest] {
		seen[b.Digest] = true
		a.Blobs = append(a.Blobs, b)
	}
}

func inMemory(kind string, content []byte) Blob {
	return Blob{Digest: piece.Sum(content), Size: int64(len(content)), Kind: kind, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}
