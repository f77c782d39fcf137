package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
)

// startDelay is how far ahead the common instant lies at which all clients
// begin: enough for every one of them to be up and waiting.
const startDelay = 2 * time.Second

type bench struct {
	options
	programs lab.Programs
	out      io.Writer
	// coldMakespan is that of the cold phase, seconds; 0 before it.
	coldMakespan float64
}

func (b *bench) figure(name string, value float64, unit string) {
	lab.Figure(b.out, name, value, unit)
}

// swarm measures each phase in a lab of its own, so that none begins with the
// caches of another.
func (b *bench) swarm(ctx context.Context) error {
	for _, name := range strings.Split(b.phases, ",") {
		p, ok := b.phase(name)
		if !ok {
			return fmt.Errorf("no phase %q: %s are known", name, allPhases)
		}
		fmt.Fprintf(os.Stderr, "%s: %d nodes at %v, origin at %v, %v in %d layers\n",
			name, p.shape.Nodes, p.shape.NodeRate, p.shape.OriginRate, b.size, p.layers)
		spec := lab.ImageSpec{Repository: "bench/image", Tag: "v1", Size: b.size, Layers: p.layers, Synthetic: true}
		if err := b.inLab(ctx, p.shape, spec, p.measure); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// inLab runs f in a new lab that has an image at its origin.
func (b *bench) inLab(ctx context.Context, shape lab.Shape, spec lab.ImageSpec, f func(context.Context, *lab.Lab, lab.Image) error) (err error) {
	l, err := lab.Open(ctx, lab.Config{Shape: shape, Programs: b.programs})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	img, err := l.Registry.Push(ctx, spec)
	if err != nil {
		return err
	}
	return f(ctx, l, img)
}

// bound is the least time for all nodes from an origin that sends once.
func (b *bench) bound(img lab.Image) float64 {
	return lab.Bound(b.Nodes, lab.Size(img.Bytes), b.OriginRate, b.NodeRate, b.NodeRate).Seconds()
}

// direct is the same without p2pd, beside the same bound.
func (b *bench) direct(ctx context.Context, l *lab.Lab, img lab.Image) error {
	times, err := pullAll(ctx, l, img, 0, fromOrigin)
	if err != nil {
		return err
	}
	b.figure("swarm.direct.makespan_over_bound", slices.Max(times)/b.bound(img), "ratio")
	return nil
}

// warm: the first node has the image, the others pull. The bound has that node
// as the source.
func (b *bench) warm(ctx context.Context, l *lab.Lab, img lab.Image) error {
	if b.Nodes < 2 {
		return errors.New("a node to pull from and one to pull are needed")
	}
	if _, err := l.StartSwarm(ctx); err != nil {
		return err
	}
	if _, err := lab.PullAt(ctx, l.Net.Nodes[0], viaP2PD(l, img, 0)); err != nil {
		return err
	}
	mark, err := l.Registry.Mark(ctx)
	if err != nil {
		return err
	}
	times, err := pullAll(ctx, l, img, 1, viaP2PD)
	if err != nil {
		return err
	}
	tally, err := l.Registry.Since(ctx, mark)
	if err != nil {
		return err
	}
	bound := lab.Bound(b.Nodes-1, lab.Size(img.Bytes), b.NodeRate, b.NodeRate, b.NodeRate).Seconds()
	b.figure("swarm.warm.makespan_over_bound", slices.Max(times)/bound, "ratio")
	b.figure("swarm.warm.origin_copies", float64(tally.BlobBytes)/float64(img.Bytes), "ratio")
	return nil
}

// way says how node i pulls.
type way func(l *lab.Lab, img lab.Image, i int) lab.PullSpec

func viaP2PD(l *lab.Lab, img lab.Image, i int) lab.PullSpec {
	return lab.PullSpec{Base: l.MirrorURL(i), Host: lab.RegistryHost, Repository: img.Repository, Tag: img.Tag, Known: img.Blobs}
}

func fromOrigin(l *lab.Lab, img lab.Image, _ int) lab.PullSpec {
	return lab.PullSpec{Base: l.Registry.Endpoint, Repository: img.Repository, Tag: img.Tag, Known: img.Blobs}
}

// pullAll pulls on the nodes from first on, all at one instant, and returns
// their seconds. If any fails, all do.
func pullAll(ctx context.Context, l *lab.Lab, img lab.Image, first int, how way) ([]float64, error) {
	times := make([]float64, len(l.Net.Nodes)-first)
	at := time.Now().Add(startDelay)
	g, ctx := errgroup.WithContext(ctx)
	for i := range times {
		g.Go(func() error {
			spec := how(l, img, first+i)
			spec.Start = at
			report, err := lab.PullAt(ctx, l.Net.Nodes[first+i], spec)
			if err == nil && report.Digest != img.Digest {
				err = fmt.Errorf("pulled %s instead of %s", report.Digest, img.Digest)
			}
			times[i] = report.Seconds
			return err
		})
	}
	return times, g.Wait()
}

// usage adds up CPU time, and takes the largest peak of memory.
func usage(daemons []*lab.Daemon) (lab.Usage, error) {
	var sum lab.Usage
	for _, d := range daemons {
		u, err := d.Usage()
		if err != nil {
			return sum, err
		}
		sum.CPU += u.CPU
		sum.PeakRSS = max(sum.PeakRSS, u.PeakRSS)
	}
	return sum, nil
}

// received is how many bytes all p2pds received.
func received(ctx context.Context, s *lab.Swarm) (float64, error) {
	peers, err1 := s.Sum(ctx, lab.ReceivedFromPeers)
	origin, err2 := s.Sum(ctx, lab.ReceivedFromOrigin)
	return peers + origin, errors.Join(err1, err2)
}

// percentile is the nearest-rank one.
func percentile(values []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Ceil(p/100*float64(len(sorted))))-1]
}
