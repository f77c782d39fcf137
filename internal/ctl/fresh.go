package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/p2pd/p2pd/internal/api"
)

const (
	// freshDefault is the size of a fresh layer: one piece, so that a check
	// costs next to nothing.
	freshDefault = 1 << 20
	// freshMost bounds it: the layer is made in memory.
	freshMost = 256 << 20
	// forgetTries and forgetPause are the patience with p2pd, which makes a blob
	// durable after the client has it, and keeps it that long.
	forgetTries, forgetPause = 20, 100 * time.Millisecond
)

// freshImage is an image that nobody can have: another one with a layer of
// random bytes on top. What pulls it shows what a pull costs, every time.
type freshImage struct {
	repository string // where it is pushed
	size       int64  // of the layer
	pushed     name.Digest
	layer      v1.Hash
	blobs      []string // its manifest, configuration and layer
}

func (k *checkup) freshChecks() []check {
	return []check{{description: "a fresh image is pushed", anchor: "fresh-image", fatal: true, look: k.pushFresh}}
}

func (k *checkup) goneChecks() []check {
	return []check{{description: "the fresh image is gone", anchor: "fresh-gone", look: k.removeFresh}}
}

// pushFresh makes the image and pushes it. What is checked after that is it.
func (k *checkup) pushFresh(ctx context.Context) (string, error) {
	repo, err := name.NewRepository(k.fresh.repository, k.reg.options()...)
	if err != nil {
		return "", usage("--fresh %q is no repository: %w", k.fresh.repository, err)
	}
	base, _, err := k.reg.image(ctx, k.ref)
	if err != nil {
		return "", err
	}
	layer, err := random.Layer(k.fresh.size, types.OCILayer)
	if err != nil {
		return "", fmt.Errorf("make a layer: %w", err)
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return "", fmt.Errorf("put a layer on %s: %w", k.image, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("put a layer on %s: %w", k.image, err)
	}
	pushed := repo.Digest(digest.String())
	if err := remote.Write(pushed, img, k.options(ctx)...); err != nil {
		return "", fmt.Errorf("%w; may these credentials push to --fresh %s?", registryTrouble(pushed, err), repo)
	}
	k.fresh.pushed = pushed
	k.ref, k.image = pushed, pushed.String()
	if k.fresh.layer, err = layer.Digest(); err != nil {
		return "", err
	}
	config, err := img.ConfigName()
	if err != nil {
		return "", err
	}
	k.fresh.blobs = []string{digest.String(), config.String(), k.fresh.layer.String()}
	return fmt.Sprintf("%s with a layer of %s", pushed, bytesText(k.fresh.size)), nil
}

// removeFresh removes the image from the registry and from p2pd's store. Few
// registries let clients delete, so that nothing is wrong if this one does not.
func (k *checkup) removeFresh(ctx context.Context) (string, error) {
	if len(k.fresh.blobs) == 0 {
		return "", skip("none was pushed")
	}
	kept := k.forgetFresh(ctx)
	err := remote.Delete(k.fresh.pushed, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("p2pctl/"+version()))
	if e, is := errors.AsType[*transport.Error](err); is {
		switch e.StatusCode {
		case http.StatusMethodNotAllowed, http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden, http.StatusBadRequest:
			return "", errors.Join(kept, skip("the registry refuses deletion (%d): have it remove untagged images of %s by itself", e.StatusCode, k.fresh.repository))
		}
	}
	return "", errors.Join(kept, err)
}

// forgetFresh removes the image's blobs from p2pd's store. One that stays is no
// failure: p2pd removes it when it needs the room.
func (k *checkup) forgetFresh(ctx context.Context) error {
	cl, err := k.cli.p2pd()
	if err != nil || k.node == nil {
		return nil //nolint:nilerr // there is no p2pd to remove it from
	}
	for _, d := range k.fresh.blobs {
		for tries := range forgetTries {
			var gone api.PruneResult
			err = cl.do(ctx, http.MethodDelete, "/cache/"+d, nil, &gone)
			if !isStatus(err, http.StatusConflict) || tries == forgetTries-1 || pause(ctx, forgetPause) != nil {
				break
			}
		}
		if err != nil && !isStatus(err, http.StatusNotFound) {
			return warn("p2pd keeps %s for now: %w", d, err)
		}
	}
	return nil
}
