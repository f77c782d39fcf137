package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// way is whose bytes containerd must have got.
type way int

// Either is right where both are: p2pd may get over the fault, or hand over.
const (
	either  way = iota
	through     // every byte through p2pd
	around      // some past p2pd, from the origin
)

// fault is a row of the table.
type fault struct {
	name string
	// origin is what the origin does during the pull.
	origin lab.Fault
	// prepare runs before the pull, midway beside it, until it ends.
	prepare, midway func(context.Context, *stage) error
	way             way
	// allows is what the fault itself may cost, beside a direct pull's time
	// and grace.
	allows time.Duration
	// says is in the origin's own error, where a direct pull fails too.
	says string
	// dead says that p2pd dies while it answers. containerd asks no other
	// host for a range of a blob that it has begun to fetch in parallel: if a
	// request for one is what fails, so does the pull, and nothing that a
	// dead p2pd did could help.
	dead bool
	// proof fails if the fault did not happen, or more than it.
	proof func(context.Context, *stage, cell) error
}

const (
	// slowRate makes a pull from the origin take some two seconds.
	slowRate = lab.Rate(16e6)
	// early is how many bytes come before a fault in the middle of a body:
	// less than a piece, which is what p2pd asks an origin for.
	early = 700 << 10
	// supervisor is how long whoever supervises p2pd takes to kill one that
	// is frozen. It is long here, to be seen in the table.
	supervisor = 5 * time.Second
	// slowStart is how long a slow origin takes to answer.
	slowStart = 4 * time.Second
	// grace is what a pull through p2pd may take longer than a direct one.
	grace = 2 * time.Second
	// silence is how long p2pd may wait for a first byte, and stall for the
	// next one, before it hands over.
	silence = 2 * time.Second
	stall   = 5 * time.Second
)

func faults() []fault {
	return append(append(p2pdFaults(), swarmFaults()...), originFaults()...)
}

// p2pdFaults are those of the node's own p2pd.
func p2pdFaults() []fault {
	return []fault{
		{name: "none", way: through},
		{name: "p2pd refuses connections", way: around, prepare: kill},
		{name: "p2pd killed mid-body", way: around, origin: lab.Fault{Rate: slowRate, OnlyP2PD: true}, midway: midBody(kill), dead: true, proof: resumed, allows: time.Second},
		{name: "p2pd frozen before headers, killed after 5 s", way: around, prepare: freeze, midway: killFrozen, allows: supervisor},
		{name: "p2pd frozen mid-body, killed after 5 s", way: around, origin: lab.Fault{Rate: slowRate, OnlyP2PD: true}, midway: midBody(freeze, killFrozen), dead: true, proof: resumed, allows: time.Second + supervisor},
		{name: "p2pd gets nothing, before headers", way: around, origin: lab.Fault{Wait: lab.Forever, Manifests: true, OnlyP2PD: true}, allows: silence},
		{name: "p2pd gets nothing more, mid-body", way: around, origin: lab.Fault{Spare: 2, Wait: lab.Forever, OnlyP2PD: true}, allows: stall + silence},
		{name: "p2pd's disk is full", way: either, prepare: func(ctx context.Context, s *stage) error { return s.fill(ctx, 6<<20) }},
	}
}

// swarmFaults are those of others.
func swarmFaults() []fault {
	return []fault{
		{name: "a peer sends false bytes", way: through, prepare: liar, proof: noticed},
		{name: "a peer dies", way: through, prepare: slowPeer, midway: killPeer, allows: time.Second},
		{name: "the scheduler is gone", way: through, prepare: func(_ context.Context, s *stage) error { s.scheduler.Kill(); return nil }},
	}
}

// originFaults hit p2pd and containerd alike.
func originFaults() []fault {
	const once, always = 1, 0
	status := func(code, times int) lab.Fault { return lab.Fault{Status: code, RetryAfter: time.Second, Times: times} }
	return []fault{
		{name: "origin: 429 once", origin: status(http.StatusTooManyRequests, once), says: lab.FaultMessage, allows: time.Second},
		{name: "origin: 429 always", origin: status(http.StatusTooManyRequests, always), says: lab.FaultMessage, allows: time.Second},
		{name: "origin: 500 once", origin: status(http.StatusInternalServerError, once), says: lab.FaultMessage},
		{name: "origin: 500 always", origin: status(http.StatusInternalServerError, always), says: lab.FaultMessage},
		{name: "origin: first answers take 4 s", origin: lab.Fault{Wait: slowStart, Times: once}},
		{name: "origin: bodies end after 700 KiB", origin: lab.Fault{CutAfter: early}},
		{name: "origin: slow, 16 Mbit a second", origin: lab.Fault{Rate: slowRate}, way: through},
		{name: "origin: knows no Range", origin: lab.Fault{NoRange: true}},
	}
}

func kill(_ context.Context, s *stage) error {
	s.nodes[0].Kill()
	return nil
}

func freeze(_ context.Context, s *stage) error {
	if err := syscall.Kill(s.nodes[0].PID(), syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze p2pd: %w", err)
	}
	return nil
}

// killFrozen is a supervisor that kills a p2pd that says nothing.
func killFrozen(ctx context.Context, s *stage) error {
	defer s.nodes[0].Kill()
	select {
	case <-ctx.Done():
		return errors.New("the pull did not wait for the frozen p2pd")
	case <-time.After(supervisor):
		return nil
	}
}

// midBody does things once containerd has a piece, and cannot have a layer.
func midBody(then ...func(context.Context, *stage) error) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		if err := s.arriving(ctx, early); err != nil {
			return err
		}
		for _, f := range then {
			if err := f(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

// resumed is proof that a body was cut: containerd went on from its middle.
// Where it reads ranges anyway they prove nothing.
func resumed(_ context.Context, s *stage, c cell) error {
	if !s.cri.Mode.Ranges && c.through.seen.Direct.Resumed == 0 {
		return errors.New("containerd resumed no blob at the origin: was none cut?")
	}
	return nil
}

// liar makes the peer that has the image send false bytes. The first node
// starts anew afterwards: it shuns the peer.
func liar(ctx context.Context, s *stage) error {
	s.odd[0] = true
	if err := s.restart(ctx, 1, s.lying, "P2PD_FAULT_CORRUPT_UPLOADS=1"); err != nil {
		return err
	}
	return s.seedPeer(ctx)
}

func noticed(ctx context.Context, s *stage, _ cell) error {
	m, err := s.nodes[0].Metrics(ctx)
	if err != nil {
		return err
	}
	if m[lab.FalsePieces]+m[lab.FalseBlobs] == 0 {
		return errors.New("p2pd noticed no false byte: were there any?")
	}
	return nil
}

// slowPeer has the image, and needs some seconds to send it.
func slowPeer(ctx context.Context, s *stage) error {
	if err := s.restart(ctx, 1, s.Programs, "P2PD_LIMITS_UPLOAD=3MiB"); err != nil {
		return err
	}
	return s.seedPeer(ctx)
}

func killPeer(ctx context.Context, s *stage) error {
	if err := s.when(ctx, lab.ReceivedFromPeers, 1<<20); err != nil {
		return err
	}
	s.nodes[1].Kill()
	return nil
}
