package preheat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// An image that is to be in the container runtime comes into the store first, as
// any preheat does: by leases, piece by piece, behind what readers want. Only then
// is the runtime asked to pull it, which by its mirror it does from that store. What
// is left to do is unpacking, which knows no priority: so it is done one image at a
// time, and not begun while anybody on the node waits for a pull.

const (
	// unpacksAtOnce bounds the images that the runtime is asked to pull at a time:
	// each fetches and unpacks several layers at once by itself.
	unpacksAtOnce = 1
	// quietEvery is how often it is looked whether the node is busy.
	quietEvery = 500 * time.Millisecond
)

// errNoRuntime says why a node cannot unpack.
var errNoRuntime = errors.New("its p2pd may not ask containerd to pull: set containerd.criSocket there (p2pd before this version cannot)")

// unpack has the container runtime pull an image that is here.
func (a *Agent) unpack(ctx context.Context, t *task) error {
	t.unpacking.Store(true)
	select {
	case a.unpacks <- struct{}{}:
		defer func() { <-a.unpacks }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := a.quiet(ctx); err != nil {
		return err
	}
	spec := Spec{Registry: t.job.Registry, Repository: t.job.Repository, Reference: t.job.Unpack}
	got, err := a.cfg.Runtime.Pull(ctx, spec.Image(), t.job.Login)
	if err != nil {
		return fmt.Errorf("pull into containerd: %w", err)
	}
	if want := t.image(); !slices.Contains(got, want) {
		return fmt.Errorf("containerd has %s as %v, and not %s, which it was when the job began: it was pushed anew meanwhile; create the job again", spec.Image(), got, want)
	}
	return nil
}

// image is what the name of the task's image stands for.
func (t *task) image() (d piece.Digest) {
	if len(t.job.Blobs) > 0 {
		d = t.job.Blobs[0].Digest
	}
	return d
}

// quiet waits until nobody on the node waits for a pull.
func (a *Agent) quiet(ctx context.Context) error {
	tick := time.NewTicker(quietEvery)
	defer tick.Stop()
	for a.cfg.Engine.Busy() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
