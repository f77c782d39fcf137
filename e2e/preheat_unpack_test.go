package e2e

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/cri"
)

// transferMode and localMode end the names of two ways in which CRI pulls.
const transferMode, localMode = "-transfer", "-local"

// openPods starts a containerd with CRI on the first two nodes, in both of its ways
// to pull. They get all through p2pd, and nothing from anywhere else.
func (o *oven) openPods(ctx context.Context, t *testing.T) error {
	t.Helper()
	pause, err := o.Registry.Push(ctx, lab.ImageSpec{Repository: "lab/pause", Tag: "1", Size: 4 << 20, Layers: 2, Command: []string{"sleep", "1000000"}})
	if err != nil {
		return err
	}
	for i, mode := range []string{transferMode, localMode} {
		c := startPods(ctx, t, o.Lab, i, mode, pause.Reference())
		if err := c.Pull(ctx, pause); err != nil {
			return err
		}
		if err := errors.Join(c.Hosts(lab.RegistryHost, o.MirrorURL(i), ""), c.Hosts(tokenHost, o.MirrorURL(i), "")); err != nil {
			return err
		}
		o.pods = append(o.pods, c)
	}
	return nil
}

// preheatedIntoContainerd brings images into the containerds of the two nodes that
// have one, one with a login of the job's, and starts containers of them, for which
// the registry is not asked for a byte.
func preheatedIntoContainerd(ctx context.Context, t *testing.T, o *oven) {
	public, private := o.pushRunnable(ctx, t, "lab/job"), o.pushRunnable(ctx, t, "team-a/job")
	from := o.mark(ctx, t, o.Registry)
	began := time.Now()
	j := o.create(ctx, t, 0, api.PreheatRequest{Image: public.Reference(), Into: api.PreheatContainerd})
	j = o.until(ctx, t, 2, j.ID, ended)
	_, copies := o.since(ctx, t, o.Registry, from, public)
	t.Logf("%d containerds have it after %.1f s, with %.3f copies", j.Done, time.Since(began).Seconds(), copies)
	if j.State != api.PreheatSucceeded || j.Done != len(o.pods) || copies > 1.05 {
		t.Errorf("%.3f copies for job %+v", copies, j)
	}
	o.startsWithout(ctx, t, o.Registry, public, public.Reference())

	name := tokenHost + "/" + private.Repository + ":" + private.Tag
	if code, said := o.createAs(ctx, t, lab.Alice(), name, "--into", api.PreheatContainerd); code != 0 || !strings.Contains(said, "2 done, 0 failed") {
		t.Errorf("with a login: exit code %d\n%s", code, said)
	}
	o.startsWithout(ctx, t, o.private.Registry, private, name)
	o.logsNoCredential(t)

	other := o.Net.Nodes[len(o.pods)].Addr.String()
	j = o.create(ctx, t, 1, api.PreheatRequest{Image: public.Reference(), Into: api.PreheatContainerd, Nodes: []string{other}})
	if j = o.until(ctx, t, 1, j.ID, ended); j.State != api.PreheatFailed || !strings.Contains(j.Error, "containerd.criSocket") {
		t.Errorf("a node that cannot: %+v", j)
	}
}

// pushRunnable pushes an image whose command ends well.
func (o *oven) pushRunnable(ctx context.Context, t *testing.T, repository string) lab.Image {
	t.Helper()
	img, err := o.Registry.Push(ctx, lab.ImageSpec{Repository: repository, Tag: "v1", Size: 16 << 20, Layers: 4, Command: []string{"/bin/true"}, Seed: uint64(len(repository))})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// startsWithout starts a container of an image on each node that has a containerd,
// as a kubelet does that finds the image there.
func (o *oven) startsWithout(ctx context.Context, t *testing.T, r *lab.Registry, img lab.Image, name string) {
	t.Helper()
	from := o.mark(ctx, t, r)
	for _, pods := range o.pods {
		c, err := cri.Dial(pods.Socket())
		if err != nil {
			t.Fatal(err)
		}
		held, digests, err := c.Held(ctx, name)
		if err != nil || !held || !strings.Contains(strings.Join(digests, " "), img.Digest) {
			t.Errorf("%s: ImageStatus of %s: %v, %v, %v, want %s", pods.Mode.Name, name, held, digests, err, img.Digest)
		}
		began := time.Now()
		said, err := c.Start(ctx, name, nil)
		t.Logf("%s: a container of %s: %s (%v), after %.1f s", pods.Mode.Name, name, said, err, time.Since(began).Seconds())
		if err != nil || said != "it ran and ended with 0" {
			t.Errorf("%s: %s, %v", pods.Mode.Name, said, err)
		}
		if err := errors.Join(c.Undo(ctx), c.Close()); err != nil {
			t.Error(err)
		}
	}
	if tally, _ := o.since(ctx, t, r, from, img); tally.BlobBytes != 0 || len(tally.Requests) != 0 {
		t.Errorf("the registry was asked for %+v, and sent %d bytes", tally.Requests, tally.BlobBytes)
	}
}
