package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
)

// calm is longer than p2pd takes an origin for down that did not answer.
const calm = 7 * time.Second

// shunned is longer than peers keep away from one that sent false bytes.
const shunned = 15 * time.Minute

// Run lets a plan happen to a lab and returns what was recorded, which it writes
// to out as well. An error says that the run could not go on, not that a promise
// was broken.
func Run(ctx context.Context, l *lab.Lab, seed uint64, rounds int, out io.Writer) (History, error) {
	return record(ctx, l, seed, out, func(s *stage, cat *catalog, private lab.Image) error {
		return s.rounds(ctx, cat, private, seed, rounds)
	})
}

// record has something happen to a new stage, with an image published to pull
// and one for its owner alone, and returns what was recorded meanwhile.
func record(ctx context.Context, l *lab.Lab, seed uint64, out io.Writer, happen func(*stage, *catalog, lab.Image) error) (h History, err error) {
	rec := newRecorder(out, seed, time.Now())
	s, err := newStage(ctx, l, schedulers, rec)
	if err != nil {
		return h, err
	}
	cat := &catalog{registry: l.Registry, seed: seed}
	private, err := cat.publish(ctx, privatePrefix+"app", 4<<20)
	if err != nil {
		return h, err
	}
	first, err := cat.publish(ctx, "load/app", loadImage)
	if err != nil {
		return h, err
	}
	cat.offer(first)
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { s.watch(watching) })
	err = happen(s, cat, private)
	stop()
	watch.Wait()
	h, recErr := rec.end(time.Now())
	return h, errors.Join(err, recErr)
}

func (s *stage) rounds(ctx context.Context, cat *catalog, private lab.Image, seed uint64, rounds int) error {
	steps := Plan(seed, len(s.nodes), rounds)
	for round := range rounds {
		if err := s.round(ctx, cat, private, seed+uint64(round)<<32, steps, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return s.noScheduler(ctx, cat, rounds+1)
}

// round is a storm and the quiet after it.
func (s *stage) round(ctx context.Context, cat *catalog, private lab.Image, seed uint64, steps []Step, round int) error {
	over := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error { return s.load(ctx, cat, private, seed, over) })
	err := s.storm(ctx, slices.DeleteFunc(slices.Clone(steps), func(p Step) bool { return p.Round != round }))
	close(over)
	if err = errors.Join(err, g.Wait()); err != nil {
		return err
	}
	if err := s.wellAgain(ctx); err != nil {
		return err
	}
	sleep(ctx, calm)
	for _, p := range steps {
		if p.Round == round && p.Kind == NodeMisread {
			if err := s.quietMisread(ctx, cat, round+1, p.Node); err != nil {
				return err
			}
		}
	}
	return s.quiet(ctx, cat, Quiet{Number: round + 1}, -1)
}

// quietMisread is a quiet period with nothing wrong but that a node reads falsely.
func (s *stage) quietMisread(ctx context.Context, cat *catalog, number, node int) error {
	f := Fault{Kind: NodeMisread, Nodes: []int{node}, Start: time.Now()}
	end, err := s.misread(node)
	if err != nil {
		return err
	}
	err = s.quiet(ctx, cat, Quiet{Number: number, Misread: true}, node)
	err = errors.Join(err, end(ctx))
	f.End = time.Now()
	s.rec.add(f)
	return err
}

// noScheduler is a last quiet period, with none of the schedulers.
func (s *stage) noScheduler(ctx context.Context, cat *catalog, number int) error {
	for i := range s.schedulers {
		s.scheduler(i).Kill()
	}
	f := Fault{Kind: everyScheduler, Start: time.Now()}
	err := s.quiet(ctx, cat, Quiet{Number: number, NoScheduler: true}, -1)
	f.End = time.Now()
	s.rec.add(f)
	return err
}

// quiet has all nodes pull a new image at once, but for those that others keep
// away from because they have lied. These, besides one that is named, pull it after
// all others.
func (s *stage) quiet(ctx context.Context, cat *catalog, q Quiet, besides int) error {
	image, err := cat.publish(ctx, "quiet/app", quietImage)
	if err != nil {
		return err
	}
	mark, err := s.Registry.Mark(ctx)
	if err != nil {
		return err
	}
	q.Start, q.Bytes = time.Now(), image.Bytes
	var g errgroup.Group
	var out []int
	for i := range s.nodes {
		if at, lied := s.liars[i]; lied && time.Since(at) < shunned && i != besides {
			out = append(out, i)
			continue
		}
		q.Nodes++
		g.Go(func() error { s.pullImage(ctx, newClient(s.Lab, i), image, q.Number); return nil })
	}
	_ = g.Wait() // there are no errors
	q.End = time.Now()
	tally, err := s.Registry.Since(ctx, mark)
	if err != nil {
		return err
	}
	for _, b := range image.Blobs {
		q.Origin += tally.BytesByBlob[b.Digest]
	}
	s.rec.add(q)
	for _, i := range out {
		s.pullImage(ctx, newClient(s.Lab, i), image, q.Number)
	}
	return ctx.Err()
}
