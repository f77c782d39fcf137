package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	// loadImage is the size of an image that is pulled during storms, quietImage
	// of one that all pull at once in between.
	loadImage, quietImage = lab.Size(12 << 20), lab.Size(40 << 20)
	// publishEvery is how often there is a new image to pull.
	publishEvery = 6 * time.Second
	// think is the longest that a node waits from one pull to the next.
	think = 1500 * time.Millisecond
	// intrudeEvery is how often somebody asks for what he may not have.
	intrudeEvery = 1500 * time.Millisecond
	atOnce       = 3 // blobs of one image, as containerd has it
	// backOff is how long a kubelet waits before it pulls again what was false.
	backOff = 10 * time.Second
)

// catalog is what there is to pull. It is safe for concurrent use.
type catalog struct {
	registry *lab.Registry
	seed     uint64

	mu     sync.Mutex // guards what follows
	images []lab.Image
	made   uint64
}

// publish pushes a new image.
func (c *catalog) publish(ctx context.Context, repository string, size lab.Size) (lab.Image, error) {
	c.mu.Lock()
	c.made++
	n := c.made
	c.mu.Unlock()
	return c.registry.Push(ctx, lab.ImageSpec{
		Repository: repository, Tag: fmt.Sprintf("v%d", n), Size: size, Layers: 2, Synthetic: true, Seed: c.seed<<20 + n,
	})
}

func (c *catalog) offer(i lab.Image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.images = append(c.images, i)
}

// choose is mostly the newest image, and else any.
func (c *catalog) choose(rng *rand.Rand) lab.Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	if rng.IntN(5) < 3 {
		return c.images[len(c.images)-1]
	}
	return c.images[rng.IntN(len(c.images))]
}

// targets are the parts of an image in the order in which they are pulled.
func targets(i lab.Image) (manifest target, blobs []target) {
	for _, b := range i.Blobs {
		blobs = append(blobs, target{i.Repository, "blobs", b.Digest, b.Bytes})
	}
	return target{i.Repository, "manifests", i.Digest, i.Manifest}, blobs
}

// pullImage pulls a manifest and then all that it lists, and once again what was
// false.
func (s *stage) pullImage(ctx context.Context, c *client, image lab.Image, quiet int) {
	manifest, blobs := targets(image)
	one := func(t target) {
		for try := range 2 {
			p := c.pull(ctx, t)
			if ctx.Err() != nil && p.Err != "" {
				return // the run has been ended
			}
			p.Quiet = quiet
			s.rec.add(p)
			if !p.misled() || try > 0 || !sleep(ctx, backOff) {
				return
			}
		}
	}
	one(manifest)
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, b := range blobs {
		g.Go(func() error { one(b); return nil })
	}
	_ = g.Wait() // there are no errors
}

// load pulls on every node until over is closed, and returns once what was
// begun has ended.
func (s *stage) load(ctx context.Context, cat *catalog, private lab.Image, seed uint64, over <-chan struct{}) error {
	var g errgroup.Group
	ended := func() bool {
		select {
		case <-over:
			return true
		case <-ctx.Done():
			return true
		default:
			return false
		}
	}
	g.Go(func() error {
		for !ended() {
			image, err := cat.publish(ctx, "load/app", loadImage)
			if err != nil {
				return err
			}
			cat.offer(image)
			wait(over, publishEvery)
		}
		return nil
	})
	for i := range s.nodes {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		c := newClient(s.Lab, i)
		g.Go(func() error {
			for !ended() {
				s.pullImage(ctx, c, cat.choose(rng), 0)
				wait(over, time.Duration(rng.Int64N(int64(think))))
			}
			return nil
		})
	}
	g.Go(func() error {
		rng := rand.New(rand.NewPCG(seed, 1<<32))
		for !ended() {
			s.intrude(ctx, newClient(s.Lab, rng.IntN(len(s.nodes))), private, rng)
			wait(over, intrudeEvery)
		}
		return nil
	})
	return g.Wait()
}

// intrude asks for a part of a private image with no password or a wrong one,
// sometimes after the owner has had it pulled there.
func (s *stage) intrude(ctx context.Context, c *client, private lab.Image, rng *rand.Rand) {
	_, blobs := targets(private)
	b := blobs[rng.IntN(len(blobs))]
	if rng.IntN(2) == 0 {
		i := c.intrude(ctx, b, "the owner", lab.Alice().Basic())
		i.Rightful = true
		s.rec.add(i)
	}
	as, authorization := "nobody", ""
	if rng.IntN(2) == 0 {
		as, authorization = "another", lab.Bob().Basic()
	}
	s.rec.add(c.intrude(ctx, b, as, authorization))
}

func wait(over <-chan struct{}, d time.Duration) {
	select {
	case <-over:
	case <-time.After(d):
	}
}
