package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// ending ends a fault.
type ending func(context.Context) error

// begin makes a fault happen.
func (s *stage) begin(ctx context.Context, step Step) (ending, error) {
	i := step.Node
	switch step.Kind {
	case NodeKill, NodeRot:
		s.node(i).Kill()
		return func(ctx context.Context) error { return s.startNode(ctx, i) }, s.rot(step)
	case NodeRestart:
		err := s.node(i).Stop()
		return nil, errors.Join(err, s.startNode(ctx, i))
	case NodeCorrupt:
		s.node(i).Kill()
		s.mu.Lock()
		s.liars[i] = time.Now()
		s.mu.Unlock()
		return func(ctx context.Context) error {
			s.node(i).Kill()
			return s.startNode(ctx, i)
		}, s.startNode(ctx, i, "P2PD_FAULT_CORRUPT_UPLOADS=1")
	case NodeMisread:
		return s.misread(i)
	case NodeFreeze:
		return freeze(s.node(i).PID())
	case NodeFull:
		return s.fill(i)
	case NodeCut:
		return s.cut(ctx, s.Net.Nodes[i])
	case NodeDrop:
		return s.part(ctx, i, "blackhole", false)
	case NodeReject:
		return s.part(ctx, i, "unreachable", true)
	case NodeSlow:
		return s.slow(ctx, s.Net.Nodes[i], slowRate, usualQueue)
	case NodeLate:
		return s.slow(ctx, s.Net.Nodes[i], lateRate, lateQueue)
	case NodeLossy:
		return filter(ctx, s.Net.Nodes[i].Netns, "lossy", fmt.Sprintf("oifname eth0 numgen random mod 100 < %d drop", lossy), fmt.Sprintf("iifname eth0 numgen random mod 100 < %d drop", lossy))
	case NodeEIO:
		return s.breakDisk(i)
	case NodeClock:
		return stepClock(s.nodeClocks[i], step)
	case OriginGone:
		return s.cut(ctx, s.Net.Origin)
	}
	if slices.Contains(originFaults, step.Kind) {
		return s.spoil(step)
	}
	return s.beginScheduler(ctx, step)
}

// spoil has the origin answer falsely.
func (s *stage) spoil(step Step) (ending, error) {
	faults := map[Kind]lab.Fault{
		OriginErrors:   {Status: 500, Manifests: true},
		OriginBusy:     {Status: 429, RetryAfter: 2 * time.Second, Manifests: true},
		OriginSlow:     {Rate: trickle},
		OriginCutsBody: {CutAfter: 1 + int64(step.Seed%(3<<20))},
		OriginStalls:   {StallAfter: 1 + int64(step.Seed%(3<<20))},
		OriginLate:     {Wait: 1500 * time.Millisecond, Manifests: true},
	}
	fault, ok := faults[step.Kind]
	if !ok {
		return nil, fmt.Errorf("no such fault: %s", step.Kind)
	}
	s.proxy.Set(fault)
	return func(context.Context) error { s.proxy.Set(lab.Fault{}); return nil }, nil
}

// rot changes a few bytes of files in the store of a node that does not run.
func (s *stage) rot(step Step) error {
	if step.Kind != NodeRot {
		return nil
	}
	rng := rand.New(rand.NewPCG(step.Seed, 1))
	return filepath.WalkDir(s.store(step.Node), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !strings.Contains(path, "sha256") || rng.IntN(3) > 0 {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("rot"), rng.Int64N(info.Size()))
		if rng.IntN(4) == 0 { // what was not synced may be gone
			err = errors.Join(err, f.Truncate(rng.Int64N(info.Size())))
		}
		return errors.Join(err, f.Close())
	})
}

// misread has a node read false bytes from the registry.
func (s *stage) misread(i int) (ending, error) {
	s.mu.Lock()
	s.liars[i] = time.Now()
	s.mu.Unlock()
	return s.flag(s.misreads(i))
}

func freeze(pid int) (ending, error) {
	end := func(context.Context) error { return syscall.Kill(pid, syscall.SIGCONT) }
	return end, syscall.Kill(pid, syscall.SIGSTOP)
}

// fill takes what is left of a node's disk, and all that its store gives up.
func (s *stage) fill(i int) (ending, error) {
	junk := filepath.Join(s.store(i), "junk")
	f, err := os.Create(junk)
	if err != nil {
		return nil, err
	}
	over := make(chan struct{})
	ended := make(chan error, 1)
	go func() { // ends with the fault
		block := make([]byte, 64<<10)
		for {
			_, err := f.Write(block)
			if err == nil {
				continue
			}
			if !errors.Is(err, syscall.ENOSPC) {
				ended <- err
				return
			}
			select {
			case <-over:
				ended <- nil
				return
			case <-time.After(refill):
			}
		}
	}()
	return func(context.Context) error {
		close(over)
		return errors.Join(<-ended, f.Close(), os.Remove(junk))
	}, nil
}

// cut takes a place's link down.
func (s *stage) cut(ctx context.Context, p lab.Place) (ending, error) {
	set := func(ctx context.Context, state string) error {
		return command(ctx, "ip", "-n", s.hub(p), "link", "set", p.Name, state)
	}
	return func(ctx context.Context) error { return set(ctx, "up") }, set(ctx, "down")
}

// hub is the namespace that has the other end of a place's link.
func (s *stage) hub(p lab.Place) string { return strings.TrimSuffix(p.Netns, p.Name) + "hub" }

// part has a route between node i and the other nodes end in the void: at the
// node itself, or at the others.
func (s *stage) part(ctx context.Context, i int, route string, here bool) (ending, error) {
	metric := 10 + 2*i // others' routes between the same nodes are other ones
	if here {
		metric++
	}
	each := func(ctx context.Context, verb string) error {
		var errs []error
		for j, other := range s.Net.Nodes {
			at, to := s.Net.Nodes[i], other
			if !here {
				at, to = to, at
			}
			if i != j {
				errs = append(errs, command(ctx, "ip", "-n", at.Netns, "route", verb, route, to.Addr.String()+"/32", "metric", fmt.Sprint(metric)))
			}
		}
		return errors.Join(errs...)
	}
	return func(ctx context.Context) error { return each(ctx, "del") }, each(ctx, "add")
}

// usualQueue is how long packets wait at most where nothing is said of it.
const usualQueue = 50 * time.Millisecond

// slow holds a place's link to a fraction of its rate, with queues as deep as that.
func (s *stage) slow(ctx context.Context, p lab.Place, to lab.Rate, queue time.Duration) (ending, error) {
	set := func(ctx context.Context, rate lab.Rate, queue time.Duration) error {
		var errs []error
		for netns, device := range map[string]string{p.Netns: "eth0", s.hub(p): p.Name} {
			errs = append(errs, command(ctx, "tc", "-n", netns, "qdisc", "change", "dev", device, "root", "tbf",
				"rate", fmt.Sprintf("%dbit", int64(rate)), "burst", "128kb", "latency", fmt.Sprintf("%dms", queue.Milliseconds())))
		}
		return errors.Join(errs...)
	}
	return func(ctx context.Context) error { return set(ctx, nodeRate, usualQueue) }, set(ctx, to, queue)
}
