package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// imageLayers is a common number for an image of this size.
const imageLayers = 6

// show is the demo proper, in a lab that is open.
func show(ctx context.Context, l *lab.Lab, o options) error {
	fmt.Printf("making an image of %v in %d layers and pushing it to the origin\n", o.size, imageLayers)
	img, err := l.Registry.Push(ctx, lab.ImageSpec{Repository: "demo/app", Tag: "v1", Size: o.size, Layers: imageLayers})
	if err != nil {
		return err
	}
	pullers, what, err := choose(ctx, l)
	if err != nil {
		return err
	}
	fmt.Printf("starting a scheduler and %d nodes: p2pd and %s on each\n", o.Nodes, what)
	swarm, err := l.StartSwarm(ctx)
	if err != nil {
		return err
	}
	if err := pullers.start(ctx); err != nil {
		return err
	}
	mark, err := l.Registry.Mark(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d nodes at %v pull %s at once; the origin has %v\n\n", o.Nodes, o.NodeRate, img.Reference(), o.OriginRate)
	states, err := pullAll(ctx, l, swarm, img, pullers)
	if err != nil {
		return err
	}
	tally, err := l.Registry.Since(ctx, mark)
	if err != nil {
		return err
	}
	report(os.Stdout, o, img, states, tally)
	return pullers.finish(ctx, img)
}

// pullAll pulls on every node, draws until all have ended, and returns how
// each one did. If one fails the others go on, so that the picture is whole.
func pullAll(ctx context.Context, l *lab.Lab, s *lab.Swarm, img lab.Image, p pullers) ([]state, error) {
	began := time.Now()
	ends := make([]ending, len(l.Net.Nodes))
	var running sync.WaitGroup
	for i := range ends {
		running.Go(func() {
			err := p.pull(ctx, i, img)
			ends[i].set(time.Since(began), err)
		})
	}
	done := make(chan struct{})
	go func() {
		running.Wait()
		close(done)
	}()
	v := newView(os.Stdout, img.Bytes)
	tick := time.NewTicker(v.every)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-done:
			ended = true
		case <-tick.C:
		}
		states := poll(ctx, s, ends, began)
		v.draw(states, time.Since(began), ended)
		if ended {
			return states, failures(states)
		}
	}
}

// ending is how one pull ended.
type ending struct {
	mu    sync.Mutex
	ended bool
	took  time.Duration
	err   error
}

func (e *ending) set(took time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended, e.took, e.err = true, took, err
}

// state is one node at one moment.
type state struct {
	name   string
	took   time.Duration // so far, or in all
	ended  bool
	err    error
	served float64 // bytes that p2pd gave to the client
	peers  float64 // bytes that came from other nodes
	origin float64
}

// store is what the client got that p2pd had before.
func (s state) store() float64 { return max(0, s.served-s.peers-s.origin) }

// poll reads every node's metrics. A node that doesn't answer shows its last
// numbers as zero: the picture must go on.
func poll(ctx context.Context, s *lab.Swarm, ends []ending, began time.Time) []state {
	states := make([]state, len(s.Nodes))
	var all sync.WaitGroup
	for i, d := range s.Nodes {
		all.Go(func() {
			st := state{name: d.Place.Name, took: time.Since(began)}
			if m, err := d.Metrics(ctx); err == nil {
				st.served, st.peers, st.origin = m[lab.ServedToClients], m[lab.ReceivedFromPeers], m[lab.ReceivedFromOrigin]
			}
			e := &ends[i]
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.ended {
				st.ended, st.took, st.err = true, e.took, e.err
			}
			states[i] = st
		})
	}
	all.Wait()
	return states
}

func failures(states []state) error {
	var errs []error
	for _, s := range states {
		if s.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, s.err))
		}
	}
	return errors.Join(errs...)
}
