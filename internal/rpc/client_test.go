package rpc

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// A scheduler that comes back is attached to again, by itself, and hears
// everything anew.
func TestClientComesBack(t *testing.T) {
	_, addr, halt := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
	h, _, _ := dial(t, addr, "a")
	next(t, "stream", h.attached)
	halt()
	next(t, "end of the stream", h.detached)
	c := newCore()
	serve(t, addr, ServerConfig{Core: c})
	next(t, "second stream", h.attached).Send(scheduler.Join{Peer: "a", Blobs: []scheduler.Membership{blob}})
	expect[scheduler.PeerUp](t, c)
	expect[scheduler.Join](t, c)
}

// An address where nobody answers does not keep a client from ending.
func TestBlackHole(t *testing.T) {
	l := listen(t, "127.0.0.1:0") // accepts, and says nothing
	defer l.Close()
	h, _, halt := dial(t, l.Addr().String(), "a")
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept() // the client is waiting for an answer now
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	halt()
	if len(h.attached)+len(h.detached) > 0 {
		t.Error("attached to nobody")
	}
}

// impostor is a scheduler that does with streams what its function does.
type impostor struct {
	p2pdv1.UnimplementedSchedulerServiceServer
	attach func(attachServer) error
}

func (i impostor) Attach(g attachServer) error { return i.attach(g) }

// pretend serves an impostor and returns where.
func pretend(t *testing.T, attach func(attachServer) error) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	g := grpc.NewServer(grpc.WaitForHandlers(true))
	p2pdv1.RegisterSchedulerServiceServer(g, impostor{attach: attach})
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		g.Stop()
		if err := next(t, "end of the impostor", done); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// A scheduler that takes tables is sent them, and an earlier one, which says nothing
// of them, what it understands. Either is told the same.
func TestSummariesForEitherScheduler(t *testing.T) {
	summary := scheduler.Summary{Peer: "a"}
	for k := range 2 {
		summary.Blobs = append(summary.Blobs, scheduler.Progress{
			Digest: piece.Sum([]byte{byte(k)}), Size: 1 << 20, Have: piece.NewBitfield(1),
			Rates: []scheduler.NeighbourBytes{{Peer: "b", Bytes: int64(k)}, {Peer: "c", Bytes: 7}},
		})
	}
	for name, header := range map[string]metadata.MD{
		"earlier": metadata.Pairs(nameKey, ""), "today's": metadata.Join(metadata.Pairs(nameKey, ""), takes),
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan *p2pdv1.AttachRequest, 1)
			h, _, _ := dial(t, pretend(t, func(g attachServer) error {
				if _, err := g.Recv(); err != nil {
					return err
				}
				if err := g.SendHeader(header); err != nil {
					return err
				}
				m, err := g.Recv()
				got <- m
				<-g.Context().Done()
				return err
			}), "a")
			next(t, "stream", h.attached).Send(summary)
			m := next(t, "summary", got)
			wantNames := 0
			if name == "today's" {
				wantNames = 2
			}
			if n := len(m.GetSummary().GetPeers()); n != wantNames {
				t.Errorf("a table of %d neighbours, want %d", n, wantNames)
			}
			e, err := decodeEvent("a", m)
			if diff := cmp.Diff(scheduler.Event(summary), e, values); diff != "" || err != nil {
				t.Errorf("understood otherwise: %v\n%s", err, diff)
			}
		})
	}
}

// A client that is refused tries again, and tells its handler of nothing: it
// would announce all that it has each time.
func TestRefusedClientIsNotAttached(t *testing.T) {
	var attempts atomic.Int64
	third := make(chan struct{})
	addr := pretend(t, func(g attachServer) error {
		if _, err := g.Recv(); err != nil {
			return err
		}
		if attempts.Add(1) == 3 {
			close(third)
		}
		return status.Error(codes.InvalidArgument, "not you")
	})
	h, _, halt := dial(t, addr, "a")
	next(t, "third attempt", third)
	halt()
	if len(h.attached)+len(h.detached) > 0 {
		t.Error("attached, though refused")
	}
}

// A scheduler that says what cannot be is left, and asked again.
func TestMalformedDecisionEndsTheStream(t *testing.T) {
	addr := pretend(t, func(g attachServer) error {
		if err := g.Send(&p2pdv1.AttachResponse{Decisions: []*p2pdv1.Decision{{Decision: &p2pdv1.Decision_Revoke{Revoke: &p2pdv1.Revoke{}}}}}); err != nil {
			return err
		}
		<-g.Context().Done()
		return g.Context().Err()
	})
	h, _, _ := dial(t, addr, "a")
	next(t, "stream", h.attached)
	next(t, "end of the stream", h.detached)
	next(t, "second stream", h.attached)
	if len(h.decisions) > 0 {
		t.Errorf("decided %+v", <-h.decisions)
	}
}

// To send never waits, whatever the scheduler does, and what does not fit is
// counted.
func TestSendDoesNotWait(t *testing.T) {
	addr := pretend(t, func(g attachServer) error { // reads nothing
		if err := g.SendHeader(metadata.MD{}); err != nil {
			return err
		}
		<-g.Context().Done()
		return g.Context().Err()
	})
	h, c, halt := dial(t, addr, "a")
	sched := next(t, "stream", h.attached)
	full := make(chan struct{})
	go func() {
		defer close(full)
		e := scheduler.Join{Peer: "a", Blobs: slices.Repeat([]scheduler.Membership{blob}, blobsSent)}
		for c.Dropped() == 0 {
			sched.Send(e)
		}
	}()
	next(t, "first event dropped", full)
	halt() // while the stream is stuck
	next(t, "detachment", h.detached)
}

// When the queue is full, a Summary makes room for what is said only once.
func TestSummariesMakeRoom(t *testing.T) {
	var dropped atomic.Int64
	o := &outbox{queue: newQueue[parcel](2), dropped: &dropped}
	var s peer.Scheduler = o
	s.Send(scheduler.Summary{Peer: "old"})
	s.Send(scheduler.LeaseEnd{})
	s.Send(scheduler.Join{})
	events, err := o.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 2 || dropped.Load() != 1 {
		t.Fatalf("%d events in the queue, %d dropped", len(events), dropped.Load())
	}
	if _, ok := events[1].event.(scheduler.Join); !ok || isLesser(events[0]) {
		t.Errorf("got %#v", events)
	}
}

// What no scheduler would take is an error at once, not an endless attempt.
func TestPeerThatNoSchedulerTakes(t *testing.T) {
	for name, self := range map[string]scheduler.Peer{
		"no ID":      {},
		"long zone":  {ID: "a", Zone: large},
		"not UTF-8":  {ID: "a", Zone: "\xff"},
		"long addrs": {ID: "a", Addrs: []string{large}},
	} {
		c := NewClient(ClientConfig{Address: "127.0.0.1:1", Self: self, Handler: newHandler()})
		if err := c.Run(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
