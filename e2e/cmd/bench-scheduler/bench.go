package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// joinSpan is how long it takes until all have joined.
	joinSpan = time.Second
	// attachAtOnce is how many streams are opened at a time.
	attachAtOnce = 64
	// answerWait bounds the wait for any answer.
	answerWait = 5 * time.Minute
)

type bench struct {
	options
	out, log io.Writer
	lab      *lab.Lab
}

func (b *bench) figure(name string, value float64, unit string) {
	lab.Figure(b.out, "scheduler."+name, value, unit)
}

// figures are what is measured of a scheduler, and of a server that only answers.
type figures struct {
	p50, p99 float64 // ms
	cpu      float64 // seconds, of the joins
	bytes    float64 // of memory, a peer
}

// print says what f is, under a prefix.
func (b *bench) print(prefix string, f figures) {
	b.figure(prefix+"join_p50_ms", f.p50, "ms")
	b.figure(prefix+"join_p99_ms", f.p99, "ms")
	b.figure(prefix+"join_cpu_s", f.cpu, "seconds")
	b.figure(prefix+"bytes_per_peer", f.bytes, "bytes")
}

func (b *bench) run(ctx context.Context) error {
	least, err := b.runBare(ctx)
	if err != nil {
		return fmt.Errorf("a server that only answers: %w", err)
	}
	b.print("bare_", least)
	f, err := b.runScheduler(ctx)
	if err != nil {
		return err
	}
	b.print("", f)
	b.figure("join_p99_over_bare", f.p99/least.p99, "ratio")
	b.figure("join_cpu_over_bare", f.cpu/least.cpu, "ratio")
	b.figure("bytes_per_peer_over_bare", f.bytes/least.bytes, "ratio")
	return nil
}

// runScheduler measures the scheduler, and prints at once what no other server has.
func (b *bench) runScheduler(ctx context.Context) (f figures, err error) {
	daemon, err := b.lab.StartScheduler(ctx)
	if err != nil {
		return f, err
	}
	image, err := b.image()
	if err != nil {
		return f, err
	}
	ctx, stop := context.WithCancel(ctx)
	running, ctx := errgroup.WithContext(ctx)
	defer func() { stop(); _ = running.Wait() }()

	empty, err := daemon.Usage()
	if err != nil {
		return f, err
	}
	peers, err := b.attach(ctx, running, image)
	if err != nil {
		return f, err
	}
	before, err := daemon.Usage()
	if err != nil {
		return f, err
	}
	profiled := b.profileCPU(ctx, daemon)
	waits, err := b.join(ctx, running, peers)
	if err != nil {
		return f, err
	}
	joined, err := daemon.Usage()
	if err != nil {
		return f, err
	}
	f.p50, f.p99, f.cpu = percentile(waits, 50), percentile(waits, 99), (joined.CPU - before.CPU).Seconds()
	skipped, err := b.skipped(ctx, daemon)
	if err != nil {
		return f, err
	}
	b.figure("join_summaries_skipped", skipped, "count")
	if err := b.reporting(ctx, daemon, peers); err != nil {
		return f, err
	}
	last, err := daemon.Usage()
	if err != nil {
		return f, err
	}
	f.bytes = float64(last.PeakRSS-empty.RSS) / float64(b.peers)
	return f, errors.Join(profiled(), b.profileMemory(ctx, daemon))
}

// reporting measures the scheduler while all report.
func (b *bench) reporting(ctx context.Context, daemon *lab.Daemon, peers []*node) error {
	fmt.Fprintf(b.log, "%v of reports\n", b.steady)
	if err := pause(ctx, b.steady/2); err != nil { // until what the crowd left is done
		return err
	}
	skipped, err := b.skipped(ctx, daemon)
	if err != nil {
		return err
	}
	first, err := daemon.Usage()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := pause(ctx, b.steady); err != nil {
		return err
	}
	last, err := daemon.Usage()
	if err != nil {
		return err
	}
	b.figure("cpu_cores_steady", (last.CPU-first.CPU).Seconds()/time.Since(began).Seconds(), "cores")
	all, err := b.skipped(ctx, daemon)
	if err != nil {
		return err
	}
	b.figure("steady_summaries_skipped", all-skipped, "count")
	lost := 0
	for _, n := range peers {
		lost += n.reattached()
	}
	b.figure("streams_lost", float64(lost), "count")
	return nil
}

// skipped is how many summaries were left out so far because too much waited.
func (b *bench) skipped(ctx context.Context, daemon *lab.Daemon) (float64, error) {
	m, err := daemon.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	return m.Of("p2psched_summaries_skipped_total")
}

// image is the layers that all join.
func (b *bench) image() ([]layer, error) {
	layout, err := piece.NewLayout(int64(b.size))
	if err != nil {
		return nil, err
	}
	var image []layer
	for k := range b.layers {
		image = append(image, layer{piece.Sum(fmt.Appendf(nil, "layer %d", k)), layout})
	}
	return image, nil
}

// attach opens all streams, and waits until each is let in.
func (b *bench) attach(ctx context.Context, running *errgroup.Group, image []layer) ([]*node, error) {
	fmt.Fprintf(b.log, "%d peers attach\n", b.peers)
	var peers []*node
	opening, octx := errgroup.WithContext(ctx)
	opening.SetLimit(attachAtOnce)
	for i := range b.peers {
		n, err := newNode(b.lab, i, image)
		if err != nil {
			return peers, errors.Join(err, opening.Wait())
		}
		peers = append(peers, n)
		opening.Go(func() error {
			running.Go(func() error { return n.stream(ctx, b.lab.SchedulerAddress()) })
			return n.await(octx, n.attached, "being let in")
		})
	}
	return peers, opening.Wait()
}

// join lets all join, spread evenly over joinSpan, and returns how long each
// waited for the first answer, in ms.
func (b *bench) join(ctx context.Context, running *errgroup.Group, peers []*node) ([]float64, error) {
	fmt.Fprintf(b.log, "they join %d layers within %v\n", b.layers, joinSpan)
	err := spread(ctx, len(peers), func(i int) {
		peers[i].join()
		running.Go(func() error { return peers[i].report(ctx) })
	})
	if err != nil {
		return nil, err
	}
	var waits []float64
	for _, n := range peers {
		if err := n.await(ctx, n.answered, "an answer"); err != nil {
			return nil, err
		}
		waits = append(waits, float64(n.waited)/float64(time.Millisecond))
	}
	return waits, nil
}

// spread calls f of 0 to n-1, in an order that is always the same, evenly over joinSpan.
func spread(ctx context.Context, n int, f func(i int)) error {
	began := time.Now()
	for k, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		at := began.Add(joinSpan * time.Duration(k) / time.Duration(n))
		if err := pause(ctx, time.Until(at)); err != nil {
			return err
		}
		f(i)
	}
	return nil
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// percentile is the nearest-rank one.
func percentile(values []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(math.Ceil(p/100*float64(len(sorted))))-1]
}
