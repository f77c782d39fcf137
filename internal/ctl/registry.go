package ctl

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/spf13/cobra"

	"github.com/p2pd/p2pd/internal/api"
)

// registry is how images are looked up: with the credentials of docker login.
type registry struct {
	platform string
	insecure bool
}

func (r *registry) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.platform, "platform", "linux/amd64", "which image of an index, as `OS/ARCH[/VARIANT]`")
	cmd.Flags().BoolVar(&r.insecure, "insecure", false, "use HTTP with the registry")
}

// parse reads the name of an image.
func (r *registry) parse(image string) (name.Reference, error) {
	ref, err := name.ParseReference(image, r.options()...)
	if err != nil {
		return nil, usage("%q is no image: %w", image, err)
	}
	return ref, nil
}

// options are how names are read.
func (r *registry) options() []name.Option {
	if r.insecure {
		return []name.Option{name.Insecure}
	}
	return nil
}

// image asks the registry for one. index is the digest of the index that it is
// in, or its own.
func (r *registry) image(ctx context.Context, ref name.Reference) (img v1.Image, index v1.Hash, err error) {
	platform, err := v1.ParsePlatform(r.platform)
	if err != nil {
		return nil, index, usage("--platform: %w", err)
	}
	d, err := remote.Get(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(*platform), remote.WithUserAgent("p2pctl/"+version()), patience())
	if err != nil {
		return nil, index, fmt.Errorf("ask the registry for %s: %w", ref, err)
	}
	img, err = d.Image()
	if err != nil {
		return nil, index, fmt.Errorf("%s for %s: %w", ref, r.platform, err)
	}
	return img, d.Digest, nil
}

// part is one blob that an image is made of.
type part struct {
	What   string `json:"what"` // index, manifest, config or layer
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // api.SizeUnknown of an index
}

// parts are all that an image is made of, in the order in which it is pulled:
// index, manifest, config and layers.
func (r *registry) parts(ctx context.Context, ref name.Reference) ([]part, error) {
	ref, err := r.parse(ref.String())
	if err != nil {
		return nil, err
	}
	img, index, err := r.image(ctx, ref)
	if err != nil {
		return nil, err
	}
	own, err := img.Digest()
	if err != nil {
		return nil, err
	}
	size, err := img.Size()
	if err != nil {
		return nil, err
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	var all []part
	if own != index {
		all = append(all, part{"index", index.String(), api.SizeUnknown})
	}
	all = append(all, part{"manifest", own.String(), size}, part{"config", m.Config.Digest.String(), m.Config.Size})
	for _, l := range m.Layers {
		all = append(all, part{"layer", l.Digest.String(), l.Size})
	}
	return all, nil
}

// isStatus reports whether a program refused with an HTTP status.
func isStatus(err error, status int) bool {
	e, is := errors.AsType[*api.Error](err)
	return is && e.Status == status
}
