package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// ImageSpec says what image to make. The same spec makes the same digests.
type ImageSpec struct {
	Repository string
	Tag        string
	Size       Size // of all layers together, give or take a layer's rounding
	Layers     int
	// Synthetic layers are one file of random bytes each, to fetch and not to
	// run. Else the first layer is a runnable busybox and the rest are files
	// of the Go distribution.
	Synthetic bool
	// Command is what a container runs that is told nothing; none: a shell.
	Command []string
	Seed    uint64 // of synthetic layers: other seeds are other content
}

// Image is an image at the origin.
type Image struct {
	Repository string
	Tag        string
	Digest     string
	Bytes      int64 // of layers and configuration
	Blobs      []Blob
	Manifest   int64 // bytes
}

// Blob is a layer or the configuration.
type Blob struct {
	Digest string
	Bytes  int64
	CRC    uint32 // Castagnoli's; 0 for the configuration
}

// Reference is the image as a container runtime names it: by its tag, or by
// its digest if it has none.
func (i Image) Reference() string {
	if i.Tag == "" {
		return RegistryHost + "/" + i.Repository + "@" + i.Digest
	}
	return RegistryHost + "/" + i.Repository + ":" + i.Tag
}

// Push makes an image and pushes it to the origin from the origin's own place,
// so that no shaped link is in the way.
func (r *Registry) Push(ctx context.Context, spec ImageSpec) (Image, error) {
	img, err := build(spec)
	if err != nil {
		return Image{}, err
	}
	host := strings.TrimPrefix(r.direct, "http://")
	ref, err := name.ParseReference(host+"/"+spec.Repository+":"+spec.Tag, name.Insecure)
	if err != nil {
		return Image{}, fmt.Errorf("push: %w", err)
	}
	// Two at a time: recipes run on the machine's cores.
	transport := &http.Transport{DialContext: r.place.Dial}
	defer transport.CloseIdleConnections()
	if err := remote.Write(ref, img, remote.WithContext(ctx), remote.WithTransport(transport), remote.WithJobs(2)); err != nil {
		return Image{}, fmt.Errorf("push: %w", err)
	}
	return describe(spec, img)
}

// build makes the image without writing it anywhere.
func build(spec ImageSpec) (v1.Image, error) {
	layers, err := makeLayers(spec)
	if err != nil {
		return nil, err
	}
	command := spec.Command
	if command == nil {
		command = []string{"/bin/sh"}
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: runtime.GOARCH, OS: "linux", RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Cmd: command, Env: []string{"PATH=/bin"}},
	}); err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	for _, l := range layers {
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return nil, fmt.Errorf("build image: %w", err)
		}
	}
	return img, nil
}

func makeLayers(spec ImageSpec) ([]*layer, error) {
	share := func(total int64, n int) int64 { return total / int64(n) / tarBlock * tarBlock }
	if spec.Synthetic {
		var made []*layer
		for i := range spec.Layers {
			l, err := syntheticLayer(spec.Seed<<16|uint64(i), share(int64(spec.Size), spec.Layers))
			if err != nil {
				return nil, err
			}
			made = append(made, l)
		}
		return made, nil
	}
	base, err := baseLayer()
	if err != nil {
		return nil, err
	}
	rest := int64(spec.Size) - base.size
	if spec.Layers < 2 || rest < int64(spec.Layers)<<20 {
		return nil, errors.New("an image of files needs two layers at least, and 1 MiB for each")
	}
	files, err := treeLayers(runtime.GOROOT(), spec.Layers-1, share(rest, spec.Layers-1)) //nolint:staticcheck // any tree of files will do
	if err != nil {
		return nil, err
	}
	return append([]*layer{base}, files...), nil
}

func describe(spec ImageSpec, img v1.Image) (Image, error) {
	digest, err1 := img.Digest()
	size, err2 := img.Size()
	m, err3 := img.Manifest()
	layers, err4 := img.Layers()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return Image{}, fmt.Errorf("describe image: %w", err)
	}
	made := Image{Repository: spec.Repository, Tag: spec.Tag, Digest: digest.String(), Manifest: size}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		made.Blobs = append(made.Blobs, Blob{Digest: d.Digest.String(), Bytes: d.Size})
		made.Bytes += d.Size
	}
	for i, l := range layers {
		if ours, ok := l.(*layer); ok {
			made.Blobs[1+i].CRC = ours.crc
		}
	}
	return made, nil
}
