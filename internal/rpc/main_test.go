package rpc

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; none comes near it.
const patience = 20 * time.Second

// core records events and answers each Join with a Revoke to its peer.
type core struct{ events chan scheduler.Event }

func newCore() *core { return &core{make(chan scheduler.Event, 1000)} }

func (c *core) Step(_ time.Time, e scheduler.Event) []scheduler.Decision {
	switch e := e.(type) {
	case scheduler.Tick:
		return nil
	case scheduler.Join:
		c.events <- e
		return []scheduler.Decision{scheduler.Revoke{To: e.Peer, Digest: e.Blobs[0].Digest, Lease: 1, Reason: "test"}}
	default:
		c.events <- e
	}
	return nil
}

// brain is a core that is one function. It hears no ticks.
type brain func(scheduler.Event) []scheduler.Decision

func (b brain) Step(_ time.Time, e scheduler.Event) []scheduler.Decision {
	if _, ok := e.(scheduler.Tick); ok {
		return nil
	}
	return b(e)
}

// handler records what a client tells it.
type handler struct {
	attached  chan peer.Scheduler
	detached  chan struct{}
	decisions chan scheduler.Decision
}

func newHandler() *handler {
	return &handler{make(chan peer.Scheduler, 10), make(chan struct{}, 10), make(chan scheduler.Decision, 1000)}
}

func (h *handler) Attached(s peer.Scheduler)   { h.attached <- s }
func (h *handler) Detached()                   { h.detached <- struct{}{} }
func (h *handler) Decide(d scheduler.Decision) { h.decisions <- d }

func next[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// expect waits for the next event, which must be an E.
func expect[E scheduler.Event](t *testing.T, c *core) E {
	t.Helper()
	e := next(t, "event", c.events)
	want, ok := e.(E)
	if !ok {
		t.Fatalf("got %#v, want a %T", e, want)
	}
	return want
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve runs a server on addr until halt is called.
func serve(t testing.TB, addr string, cfg ServerConfig) (s *Server, bound string, halt func()) {
	t.Helper()
	l := listen(t, addr)
	s = NewServer(cfg)
	halt = run(t, "server", func(ctx context.Context) error { return s.Run(ctx, l) })
	return s, l.Addr().String(), halt
}

// dial runs a client until halt is called.
func dial(t testing.TB, addr string, id scheduler.PeerID) (h *handler, c *Client, halt func()) {
	t.Helper()
	h = newHandler()
	c = NewClient(ClientConfig{Address: addr, Self: scheduler.Peer{ID: id, Zone: "z"}, Handler: h, SendQueue: 16})
	return h, c, run(t, "client", c.Run)
}

// run runs f until halt is called, at the latest when the test ends.
func run(t testing.TB, what string, f func(context.Context) error) (halt func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	halted := false
	halt = func() {
		t.Helper()
		if halted {
			return
		}
		halted = true
		cancel()
		if err := next(t, "end of the "+what, done); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Cleanup(halt)
	return halt
}

func connect(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// openRaw opens a stream by hand and sends m.
func openRaw(t testing.TB, addr string, m *p2pdv1.AttachRequest) attachClient {
	t.Helper()
	g, err := p2pdv1.NewSchedulerServiceClient(connect(t, addr)).Attach(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Send(m); err != nil {
		t.Fatal(err)
	}
	return g
}

// attachRaw opens a stream by hand and is let in.
func attachRaw(t testing.TB, addr string, id scheduler.PeerID) attachClient {
	t.Helper()
	g := openRaw(t, addr, encodeEvent(scheduler.PeerUp{Peer: scheduler.Peer{ID: id}}))
	if header, err := g.Header(); header == nil || err != nil {
		t.Fatalf("no header: %v", err)
	}
	return g
}

var blob = scheduler.Membership{Digest: piece.Sum(nil), Size: 1 << 20, Have: piece.NewBitfield(1), Origin: "o"}
