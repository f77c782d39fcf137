// Package peertest runs many real peers in one process: on an in-memory
// network with rates, latency and loss, against a fake origin, and with the
// real scheduler's brain between them. It is meant for testing/synctest: it
// blocks only on channels and sleeps, so an hour of transfers takes seconds.
//
// Start reading at Cluster.
package peertest

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// chunk is how many bytes move at once. At 100 Mbit/s that is 5 ms.
const chunk = 64 << 10

var errDown = errors.New("peertest: peer is down")

// wire is one direction of a node's link: bytes pass one after the other.
type wire struct {
	mu    sync.Mutex // guards free
	rate  float64    // bytes a second; 0 is no limit
	free  time.Time  // when the last byte booked so far will have passed
	bytes int64
}

// book reserves the wire for n bytes and returns when they have passed.
func (w *wire) book(n int) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes += int64(n)
	now := time.Now()
	if w.rate <= 0 {
		return now
	}
	if w.free.Before(now) {
		w.free = now
	}
	w.free = w.free.Add(time.Duration(float64(n) / w.rate * float64(time.Second)))
	return w.free
}

// total is how many bytes have passed.
func (w *wire) total() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// flow passes r over wires, chunk by chunk, as slowly as the slowest.
type flow struct {
	ctx   context.Context
	r     io.Reader
	wires []*wire
	alive func() error
	close func()
}

func (f *flow) Read(p []byte) (int, error) {
	if err := f.alive(); err != nil {
		return 0, err
	}
	n, err := f.r.Read(p[:min(len(p), chunk)])
	if n > 0 {
		var at time.Time
		for _, w := range f.wires {
			if t := w.book(n); t.After(at) {
				at = t
			}
		}
		if serr := sleepUntil(f.ctx, at); serr != nil {
			return 0, serr
		}
	}
	return n, err
}

func (f *flow) Close() error { f.close(); return nil }

func sleepUntil(ctx context.Context, at time.Time) error {
	d := time.Until(at)
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// line delivers values in order, each after a delay, until ctx ends.
type line[T any] struct {
	ch chan T
}

func newLine[T any](ctx context.Context, wg *sync.WaitGroup, delay time.Duration, deliver func(T)) *line[T] {
	type item struct {
		at time.Time
		v  T
	}
	l := &line[T]{ch: make(chan T, 4096)}
	timed := make(chan item, 4096)
	wg.Go(func() {
		for {
			select {
			case v := <-l.ch:
				select {
				case timed <- item{time.Now().Add(delay), v}:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	wg.Go(func() {
		for {
			select {
			case it := <-timed:
				if sleepUntil(ctx, it.at) != nil {
					return
				}
				deliver(it.v)
			case <-ctx.Done():
				return
			}
		}
	})
	return l
}

func (l *line[T]) send(v T) {
	select {
	case l.ch <- v:
	default: // a queue of thousands that nobody drains: the peer is gone
	}
}

// port is one node's place on the network. It implements peer.Network.
type port struct {
	c    *Cluster
	node *Node

	mu    sync.Mutex // guards lines
	lines map[scheduler.PeerID]*line[peer.Message]
}

// Send implements peer.Network.
func (p *port) Send(to scheduler.Peer, m peer.Message) {
	if p.node.Down() {
		return
	}
	if p.c.cfg.Sent != nil {
		p.c.cfg.Sent(m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lines[to.ID]
	if l == nil {
		l = newLine(p.c.ctx, &p.c.wg, p.c.cfg.Latency, func(m peer.Message) { p.deliver(to, m) })
		p.lines[to.ID] = l
	}
	l.send(m)
}

// deliver hands m over, or loses the whole link.
func (p *port) deliver(to scheduler.Peer, m peer.Message) {
	far := p.c.node(to.ID)
	if far == nil || far.Down() || p.node.Down() || p.c.chance(p.c.cfg.Loss) {
		p.node.Peer.Lost(to.ID, errDown)
		if far != nil && !far.Down() {
			far.Peer.Lost(p.node.ID, errDown)
		}
		return
	}
	far.Peer.Receive(p.node.ID, m)
}

// Fetch implements peer.Network.
func (p *port) Fetch(ctx context.Context, from scheduler.Peer, d piece.Digest, off, n int64) (io.ReadCloser, error) {
	far := p.c.node(from.ID)
	if far == nil || far.Down() || p.c.chance(p.c.cfg.Loss) {
		return nil, errDown
	}
	if err := sleepUntil(ctx, time.Now().Add(2*p.c.cfg.Latency)); err != nil {
		return nil, err
	}
	if far.tickets != nil {
		// One that is no good counts for nothing, as in internal/transport.
		_ = far.tickets.Show(string(p.node.ID), d, p.node.tickets.Own(d))
	}
	up, err := far.Peer.Upload(ctx, p.node.ID, d, off, n)
	if err != nil {
		return nil, err
	}
	var r io.Reader = up.Reader
	if far.Corrupt {
		r = flipper{r}
	}
	return &flow{
		ctx: ctx, r: r, wires: []*wire{far.up, p.node.down}, close: sync.OnceFunc(up.Close),
		alive: func() error {
			if far.Down() || p.node.Down() {
				return errDown
			}
			return nil
		},
	}, nil
}

// flipper spoils every byte.
type flipper struct{ r io.Reader }

func (f flipper) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	for i := range p[:n] {
		p[i] ^= 0x55
	}
	return n, err
}

// chance is true with probability q, from the cluster's seeded source.
func (c *Cluster) chance(q float64) bool {
	if q <= 0 {
		return false
	}
	c.rngMu.Lock()
	defer c.rngMu.Unlock()
	return c.rng.Float64() < q
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) }
