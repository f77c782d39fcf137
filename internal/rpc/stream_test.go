package rpc

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

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

func next[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// serve runs a server on addr until stop is called.
func serve(t *testing.T, addr string, c Core) (s *Server, bound string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s = NewServer(ServerConfig{Core: c})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := next(t, "end of the server", done); err != nil {
			t.Errorf("server: %v", err)
		}
	}
	t.Cleanup(stop)
	return s, l.Addr().String(), stop
}

func dial(t *testing.T, addr string, id scheduler.PeerID) (h *handler, stop func()) {
	t.Helper()
	h = newHandler()
	c := NewClient(ClientConfig{Address: addr, Self: scheduler.Peer{ID: id, Zone: "z"}, Handler: h})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = func() {
		cancel()
		if err := next(t, "end of the client", done); err != nil {
			t.Errorf("client: %v", err)
		}
		done <- nil // so that a second stop ends as well
	}
	t.Cleanup(stop)
	return h, stop
}

var blob = scheduler.Membership{Digest: piece.Sum(nil), Size: 1 << 20, Have: piece.NewBitfield(1), Origin: "o"}

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

func TestAttachJoinDecideLeave(t *testing.T) {
	c := newCore()
	s, addr, _ := serve(t, "127.0.0.1:0", c)
	h, stop := dial(t, addr, "a")
	sched := next(t, "stream", h.attached)
	if up := expect[scheduler.PeerUp](t, c); up.Peer.ID != "a" || up.Peer.Zone != "z" {
		t.Errorf("came up as %+v", up.Peer)
	}
	sched.Send(scheduler.Join{Peer: "a", Blobs: []scheduler.Membership{blob}})
	if j := expect[scheduler.Join](t, c); j.Peer != "a" || j.Blobs[0].Origin != "o" {
		t.Errorf("joined as %+v", j)
	}
	if d := next(t, "decision", h.decisions); d.Recipient() != "a" || d.Why() != "test" {
		t.Errorf("decided %+v", d)
	}
	if err := s.Inspect(t.Context(), func(got Core) {
		if got != Core(c) {
			t.Error("inspected another core")
		}
	}); err != nil {
		t.Error(err)
	}
	if n := s.Stats().Connected; n != 1 {
		t.Errorf("%d peers connected", n)
	}
	stop()
	expect[scheduler.PeerDown](t, c)
}

// A scheduler that comes back is attached to again, by itself.
func TestClientComesBack(t *testing.T) {
	_, addr, stop := serve(t, "127.0.0.1:0", newCore())
	h, _ := dial(t, addr, "a")
	next(t, "stream", h.attached)
	stop()
	next(t, "end of the stream", h.detached)
	c := newCore()
	serve(t, addr, c)
	next(t, "second stream", h.attached)
	expect[scheduler.PeerUp](t, c)
}

// A second stream of one peer takes the place of the first.
func TestStreamIsReplaced(t *testing.T) {
	c := newCore()
	_, addr, _ := serve(t, "127.0.0.1:0", c)
	first := attachRaw(t, addr, "a")
	expect[scheduler.PeerUp](t, c)
	attachRaw(t, addr, "a")
	expect[scheduler.PeerDown](t, c)
	expect[scheduler.PeerUp](t, c)
	if _, err := first.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the first stream ended with %v", err)
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
	old, young := &stream{peer: scheduler.Peer{ID: "a"}, quit: make(chan struct{})}, &stream{peer: scheduler.Peer{ID: "a"}, quit: make(chan struct{})}
	s.admit(old)
	s.admit(young)
	expect[scheduler.PeerUp](t, c)
	expect[scheduler.PeerDown](t, c)
	expect[scheduler.PeerUp](t, c)
	for _, st := range []*stream{old, young} {
		leave := &script{msgs: []*p2pdv1.AttachRequest{encodeEvent(scheduler.Leave{})}}
		if err := s.receive(leave, st); err != nil {
			t.Fatal(err)
		}
	}
	for len(s.inbox) > 0 {
		(<-s.inbox)()
	}
	s.drop(old)
	if n := len(c.events); n != 1 || s.streams["a"] != young || s.Stats().Connected != 1 {
		t.Errorf("%d events reached the core, want the successor's alone; %+v", n, s.Stats())
	}
}

// flood answers each Join with more than a peer that does not read can take.
type flood struct{ *core }

func (f flood) Step(now time.Time, e scheduler.Event) []scheduler.Decision {
	ds := f.core.Step(now, e)
	for range 4 * decisionQueue * len(ds) {
		ds = append(ds, scheduler.Revoke{To: ds[0].Recipient(), Reason: strings.Repeat("x", 1<<10)})
	}
	return ds
}

// A peer that does not read its decisions is dropped; the others are served.
func TestPeerThatDoesNotRead(t *testing.T) {
	c := newCore()
	s, addr, _ := serve(t, "127.0.0.1:0", flood{c})
	g := attachRaw(t, addr, "a")
	expect[scheduler.PeerUp](t, c)
	if err := g.Send(encodeEvent(scheduler.Join{Blobs: []scheduler.Membership{blob}})); err != nil {
		t.Fatal(err)
	}
	expect[scheduler.Join](t, c)
	expect[scheduler.PeerDown](t, c)
	if st := s.Stats(); st.Overflows != 1 || st.Connected != 0 {
		t.Errorf("%+v, want one overflow and nobody connected", st)
	}
	gone := make(chan struct{})
	go func() { s.pumps.Wait(); close(gone) }()
	next(t, "end of the stream's goroutines, while its peer still does not read", gone)
	attachRaw(t, addr, "b")
	expect[scheduler.PeerUp](t, c)
	for { // what was on its way, then why it ended
		if _, err := g.Recv(); err != nil {
			if status.Code(err) != codes.Aborted {
				t.Errorf("ended with %v", err)
			}
			return
		}
	}
}

// attachRaw opens a stream by hand and says hello.
func attachRaw(t *testing.T, addr string, id scheduler.PeerID) grpc.BidiStreamingClient[p2pdv1.AttachRequest, p2pdv1.AttachResponse] {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	g, err := p2pdv1.NewSchedulerServiceClient(conn).Attach(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Send(encodeEvent(scheduler.PeerUp{Peer: scheduler.Peer{ID: id}})); err != nil {
		t.Fatal(err)
	}
	return g
}

// Streams that do not begin with a good hello, or send what is malformed, end.
func TestMalformedStreamEnds(t *testing.T) {
	for name, m := range map[string]*p2pdv1.AttachRequest{
		"no hello": encodeEvent(scheduler.Leave{Peer: "a"}),
		"no id":    encodeEvent(scheduler.PeerUp{}),
	} {
		t.Run(name, func(t *testing.T) {
			s, addr, _ := serve(t, "127.0.0.1:0", newCore())
			conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			g, err := p2pdv1.NewSchedulerServiceClient(conn).Attach(t.Context(), grpc.WaitForReady(true))
			if err != nil {
				t.Fatal(err)
			}
			if err := g.Send(m); err != nil {
				t.Fatal(err)
			}
			if _, err := g.Recv(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("ended with %v", err)
			}
			if s.Stats().Malformed != 1 {
				t.Errorf("%+v", s.Stats())
			}
		})
	}
}

// A scheduler's address where nobody answers does not keep a client from
// ending.
func TestBlackHole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	h, stop := dial(t, l.Addr().String(), "a")
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept() // the client is waiting for an answer now
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stop()
	if len(h.attached) > 0 {
		t.Error("attached to nobody")
	}
}
