package rpc

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// These tests are the loop: they call what runs in it, and no server runs.

// work does what waits in the inbox.
func (s *Server) work() {
	for len(s.inbox) > 0 {
		(<-s.inbox)()
	}
}

// waiting is what a stream's peer has not been sent yet.
func waiting(t *testing.T, st *stream) []scheduler.Decision {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ds, err := st.out.take(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return ds
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// script is the server's end of a stream on which msgs arrive, then the end.
type script struct {
	grpc.ServerStream
	msgs []*p2pdv1.AttachRequest
}

func (s *script) Send(*p2pdv1.AttachResponse) error { return nil }

func (s *script) Recv() (*p2pdv1.AttachRequest, error) {
	if len(s.msgs) == 0 {
		return nil, io.EOF
	}
	m := s.msgs[0]
	s.msgs = s.msgs[1:]
	return m, nil
}

// What still comes from a stream that has been replaced is not taken for the
// word of its successor, and its end does not end the successor.
func TestReplacedStreamIsNotHeard(t *testing.T) {
	c := newCore()
	s := NewServer(ServerConfig{Core: c})
	old, young := s.newStream(scheduler.Peer{ID: "a"}), s.newStream(scheduler.Peer{ID: "a"})
	s.admit(old)
	s.admit(young)
	expect[scheduler.PeerUp](t, c)
	expect[scheduler.PeerDown](t, c)
	expect[scheduler.PeerUp](t, c)
	for _, st := range []*stream{old, young} {
		g := &script{msgs: []*p2pdv1.AttachRequest{encodeEvent(scheduler.Leave{})}}
		if err := s.receive(g, st); err != nil {
			t.Fatal(err)
		}
	}
	s.work()
	s.drop(old)
	if n := len(c.events); n != 1 || s.streams["a"] != young || s.Stats().Connected != 1 {
		t.Errorf("%d events reached the core, want the successor's alone; %+v", n, s.Stats())
	}
	if !isClosed(old.quit) || isClosed(young.quit) {
		t.Error("want the old stream closed and the young one open")
	}
}

// The core may still decide for a peer while it is told that the peer is
// down: such a decision goes nowhere, however full the old stream's queue is.
func TestDecisionForPeerThatIsReplaced(t *testing.T) {
	s := NewServer(ServerConfig{DecisionQueue: 1, Core: brain(func(e scheduler.Event) []scheduler.Decision {
		switch e := e.(type) {
		case scheduler.PeerUp:
			return []scheduler.Decision{scheduler.Revoke{To: e.Peer.ID, Lease: 1}}
		case scheduler.PeerDown:
			return []scheduler.Decision{scheduler.Revoke{To: e.Peer, Lease: 2}}
		}
		return nil
	})})
	old, young := s.newStream(scheduler.Peer{ID: "a"}), s.newStream(scheduler.Peer{ID: "a"})
	s.admit(old)
	s.admit(young)
	if s.streams["a"] != young || s.Stats().Connected != 1 || s.Stats().Overflows != 0 {
		t.Errorf("%+v", s.Stats())
	}
	want := []scheduler.Decision{scheduler.Revoke{To: "a", Lease: 1}}
	if diff := cmp.Diff(want, waiting(t, young)); diff != "" {
		t.Error(diff)
	}
	s.drop(young)
	if s.Stats().Connected != 0 || len(s.streams) != 0 {
		t.Errorf("%+v", s.Stats())
	}
}

// That a peer is dropped in the middle of a step does not put what follows
// from it before the rest of the step: a would keep a neighbour that is gone.
func TestDroppedPeerIsPartedAfterItsIntroduction(t *testing.T) {
	s := NewServer(ServerConfig{DecisionQueue: 2, Core: brain(func(e scheduler.Event) []scheduler.Decision {
		switch e := e.(type) {
		case scheduler.Leave:
			return []scheduler.Decision{
				scheduler.Introduce{To: "b"}, scheduler.Introduce{To: "b"}, scheduler.Introduce{To: "b"},
				scheduler.Introduce{To: "a", Peers: []scheduler.Peer{{ID: "b"}}},
				scheduler.Introduce{To: "b"},
			}
		case scheduler.PeerDown:
			return []scheduler.Decision{scheduler.Part{To: "a", Peers: []scheduler.PeerID{e.Peer}}}
		}
		return nil
	})})
	a, b := s.newStream(scheduler.Peer{ID: "a"}), s.newStream(scheduler.Peer{ID: "b"})
	s.admit(a)
	s.admit(b)
	s.stepFrom(a, scheduler.Leave{})
	want := []scheduler.Decision{
		scheduler.Introduce{To: "a", Peers: []scheduler.Peer{{ID: "b"}}},
		scheduler.Part{To: "a", Peers: []scheduler.PeerID{"b"}},
	}
	if diff := cmp.Diff(want, waiting(t, a)); diff != "" {
		t.Error(diff)
	}
	if st := s.Stats(); st.Overflows != 1 || st.Connected != 1 || !isClosed(b.quit) {
		t.Errorf("%+v, want b dropped once", st)
	}
}

// admitted is a server with room for so many events, and a peer's stream, which it
// has let in. No loop runs.
func admitted(t *testing.T, queued int) (*core, *Server, *stream) {
	t.Helper()
	c := newCore()
	s := NewServer(ServerConfig{Core: c, EventQueue: queued})
	st := s.newStream(scheduler.Peer{ID: "a"})
	s.admit(st)
	expect[scheduler.PeerUp](t, c)
	return c, s, st
}

// While the brain is busy its queue fills up and streams are read no further;
// nothing is lost and nothing overtakes.
func TestBusyBrainHoldsPeersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const queued, events = 2, 10
		c, s, st := admitted(t, queued)
		g := &script{}
		for i := range events {
			g.msgs = append(g.msgs, encodeEvent(scheduler.LeaseEnd{Lease: scheduler.LeaseID(i), Outcome: scheduler.Done}))
		}
		done := make(chan error, 1)
		go func() { done <- s.receive(g, st) }()
		synctest.Wait() // no loop runs: the reader has come as far as it can
		if want := events - queued - 1; len(g.msgs) != want {
			t.Errorf("%d messages are still to be read, want %d", len(g.msgs), want)
		}
		for i := range events {
			(<-s.inbox)()
			if e := expect[scheduler.LeaseEnd](t, c); e.Lease != scheduler.LeaseID(i) {
				t.Errorf("lease %d ended as number %d", e.Lease, i)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// While the brain is behind, what repeats itself is left out, and nothing else.
func TestBusyBrainLeavesOutWhatRepeatsItself(t *testing.T) {
	const queued = 12
	progress := scheduler.Progress{Digest: piece.Sum(nil), Size: scheduler.SizeUnknown}
	leasing, stalled, whole := progress, progress, progress
	leasing.Leases, stalled.Stalled = []scheduler.LeaseBytes{{ID: 1, Bytes: 2}}, true
	whole.Size, whole.Have = 5, piece.FullBitfield(1)
	told := func(p scheduler.Progress) scheduler.Event {
		return scheduler.Summary{Peer: "a", Blobs: []scheduler.Progress{progress, p}}
	}
	c, s, st := admitted(t, queued)
	g := &script{}
	var want []scheduler.Event
	for range queued/2 + 1 {
		g.msgs = append(g.msgs, encodeEvent(told(progress)))
	}
	for _, e := range []scheduler.Event{
		told(progress), told(leasing), told(stalled), told(whole), told(progress), scheduler.Leave{Peer: "a", Digest: progress.Digest},
	} {
		g.msgs = append(g.msgs, encodeEvent(e))
	}
	for range queued/2 + 1 {
		want = append(want, told(progress))
	}
	want = append(want, told(leasing), told(stalled), told(whole), scheduler.Leave{Peer: "a", Digest: progress.Digest})
	if err := s.receive(g, st); err != nil {
		t.Fatal(err)
	}
	s.work()
	var got []scheduler.Event
	for range want {
		got = append(got, next(t, "event", c.events))
	}
	if diff := cmp.Diff(want, got, values); diff != "" || len(c.events) > 0 {
		t.Errorf("%d more; what was heard differs (-want +got):\n%s", len(c.events), diff)
	}
	if n := s.Stats().Skipped; n != 2 {
		t.Errorf("%d were left out, want 2", n)
	}
}

// Who asks for the core while the inbox is full may give up.
func TestInspectGivesUp(t *testing.T) {
	s := NewServer(ServerConfig{Core: newCore(), EventQueue: 1})
	s.inbox <- func() {}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Inspect(ctx, func(Core) { t.Error("was run") }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.work()
}

func TestQueue(t *testing.T) {
	q := newQueue[int](2)
	even := func(n int) bool { return n%2 == 0 }
	for _, step := range []struct {
		put  int
		fits bool
	}{{1, true}, {2, true}, {3, false}, {5, false}} {
		if fits := q.put(step.put, even); fits != step.fits {
			t.Errorf("put %d: %v", step.put, fits)
		}
	}
	if q.put(7, nil) {
		t.Error("7 fits into a full queue")
	}
	got, err := q.take(t.Context()) // 2 made room for 3, and nothing for 5
	if diff := cmp.Diff([]int{1, 3}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if !q.put(9, nil) {
		t.Error("9 does not fit into an empty queue")
	}
}
