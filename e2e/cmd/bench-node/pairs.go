package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/p2pd/p2pd/e2e/lab"
)

// nodes of every lab: the one that is measured, and another.
const nodes = 2

// inLab runs f in a new lab with both p2pds running.
func (b *bench) inLab(ctx context.Context, rate lab.Rate, f func(*stage) error) (err error) {
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: nodes, NodeRate: rate, OriginRate: rate}, Programs: b.programs})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s := &stage{bench: b, lab: l, ctx: ctx}
	return f(s)
}

// stage is a lab in which pulls are measured.
type stage struct {
	*bench
	lab *lab.Lab
	ctx context.Context //nolint:containedctx // lives for one phase
}

// image pushes content that nobody has seen.
func (s *stage) image(size lab.Size, layers int) (lab.Image, error) {
	s.seed++
	return s.lab.Registry.Push(s.ctx, lab.ImageSpec{
		Repository: "bench/image", Tag: "v1", Size: size, Layers: layers, Synthetic: true, Seed: s.seed,
	})
}

// direct pulls on node i from the origin.
func (s *stage) direct(i int, img lab.Image) (lab.PullReport, error) {
	return lab.PullAt(s.ctx, s.lab.Net.Nodes[i], lab.PullSpec{
		Base: s.lab.Registry.Endpoint, Repository: img.Repository, Tag: img.Tag,
	})
}

// through pulls on node i by its p2pd.
func (s *stage) through(i int, img lab.Image) (lab.PullReport, error) {
	return lab.PullAt(s.ctx, s.lab.Net.Nodes[i], lab.PullSpec{
		Base: s.lab.MirrorURL(i), Host: lab.RegistryHost, Repository: img.Repository, Tag: img.Tag,
	})
}

// pair is the same content, pulled in two ways.
type pair struct{ direct, through []float64 }

func (p *pair) ratio() float64 { return median(p.through) / median(p.direct) }

// measure pulls new images directly and by node 0's p2pd, in turns: whatever
// else the machine does meets both.
func (s *stage) measure(size lab.Size, layers int) (pulls, firstBytes pair, err error) {
	for range s.pairs {
		img, err := s.image(size, layers)
		if err != nil {
			return pulls, firstBytes, err
		}
		d, err := s.direct(0, img)
		if err != nil {
			return pulls, firstBytes, err
		}
		t, err := s.through(0, img)
		if err != nil {
			return pulls, firstBytes, err
		}
		s.tell("direct", d)
		s.tell("through", t)
		pulls.direct, pulls.through = append(pulls.direct, d.Seconds), append(pulls.through, t.Seconds)
		last := len(d.Blobs) - 1
		firstBytes.direct = append(firstBytes.direct, d.Blobs[last].First)
		firstBytes.through = append(firstBytes.through, t.Blobs[last].First)
	}
	return pulls, firstBytes, nil
}

// tell shows where the time of one pull went.
func (s *stage) tell(how string, r lab.PullReport) {
	if !s.verbose {
		return
	}
	fmt.Fprintf(os.Stderr, "%s: %.1f ms", how, 1e3*r.Seconds)
	for _, b := range r.Blobs {
		fmt.Fprintf(os.Stderr, "; %d bytes: first after %.1f ms, all after %.1f", b.Bytes, 1e3*b.First, 1e3*b.Seconds)
	}
	fmt.Fprintln(os.Stderr)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
