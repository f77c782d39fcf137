package rpc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

func TestAttachJoinDecideLeave(t *testing.T) {
	c := newCore()
	s, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: c})
	h, _, halt := dial(t, addr, "a")
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
	if st := s.Stats(); st.Connected != 1 || st.Events["hello"] != 1 || st.Events["join"] != 1 {
		t.Errorf("%+v", st)
	}
	halt()
	expect[scheduler.PeerDown](t, c)
	next(t, "detachment", h.detached)
}

// The shell around the real brain: of two peers that want one blob, the one
// that comes later is told of the other.
func TestPeersMeet(t *testing.T) {
	_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: scheduler.New(scheduler.Config{Seed: 1})})
	var last *handler
	for _, id := range []scheduler.PeerID{"a", "b"} {
		last, _, _ = dial(t, addr, id)
		next(t, "stream", last.attached).Send(scheduler.Join{Peer: id, Blobs: []scheduler.Membership{blob}})
		if id == "a" {
			next(t, "answer to "+string(id), last.decisions)
		}
	}
	for {
		in, ok := next(t, "introduction of a to b", last.decisions).(scheduler.Introduce)
		if ok && len(in.Peers) == 1 && in.Peers[0].ID == "a" && in.Peers[0].Zone == "z" {
			return
		}
	}
}

// A second stream of one peer takes the place of the first.
func TestStreamIsReplaced(t *testing.T) {
	c := newCore()
	_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: c})
	first := attachRaw(t, addr, "a")
	expect[scheduler.PeerUp](t, c)
	second := attachRaw(t, addr, "a")
	expect[scheduler.PeerDown](t, c)
	expect[scheduler.PeerUp](t, c)
	if _, err := first.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the first stream ended with %v", err)
	}
	if err := second.Send(encodeEvent(scheduler.Leave{})); err != nil {
		t.Fatal(err)
	}
	expect[scheduler.Leave](t, c) // and not the end of the peer
}

// flood answers each Join with more than a peer that does not read can take.
type flood struct{ *core }

func (f flood) Step(now time.Time, e scheduler.Event) []scheduler.Decision {
	ds := f.core.Step(now, e)
	for range 4 * DefaultDecisionQueue * len(ds) {
		ds = append(ds, scheduler.Revoke{To: ds[0].Recipient(), Reason: strings.Repeat("x", 1<<10)})
	}
	return ds
}

// A peer that does not read its decisions is dropped; the others are served.
func TestPeerThatDoesNotRead(t *testing.T) {
	c := newCore()
	s, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: flood{c}})
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

// Streams that do not begin with a good hello, or send what is malformed, end.
func TestMalformedStreamEnds(t *testing.T) {
	for name, m := range map[string]*p2pdv1.AttachRequest{
		"no hello": encodeEvent(scheduler.Leave{Peer: "a"}),
		"no id":    encodeEvent(scheduler.PeerUp{}),
	} {
		t.Run(name, func(t *testing.T) {
			s, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
			g := openRaw(t, addr, m)
			if _, err := g.Recv(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("ended with %v", err)
			}
			if s.Stats().Malformed != 1 {
				t.Errorf("%+v", s.Stats())
			}
		})
	}
	t.Run("later", func(t *testing.T) {
		c := newCore()
		s, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: c})
		g := attachRaw(t, addr, "a")
		expect[scheduler.PeerUp](t, c)
		if err := g.Send(ofBlame(nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "blame.digest") {
			t.Errorf("ended with %v", err)
		}
		expect[scheduler.PeerDown](t, c)
		if s.Stats().Malformed != 1 {
			t.Errorf("%+v", s.Stats())
		}
	})
}

// A server ends while peers are attached and while one has yet to say hello.
func TestServerEnds(t *testing.T) {
	s, addr, halt := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
	in := attachRaw(t, addr, "a")
	silent, err := p2pdv1.NewSchedulerServiceClient(connect(t, addr)).Attach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	halt()
	for name, g := range map[string]attachClient{"attached": in, "silent": silent} {
		if _, err := g.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the stream that was %s ended with %v", name, err)
		}
	}
	if err := s.Inspect(t.Context(), func(Core) {}); err == nil {
		t.Error("a core can be inspected after its end")
	}
}

// A server whose listener breaks ends, and says so.
func TestListenerBreaks(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- NewServer(ServerConfig{Core: newCore()}).Run(ctx, l) }()
	l.Close()
	if err := next(t, "end of the server", done); err == nil {
		t.Error("no error")
	}
}

func TestHealth(t *testing.T) {
	_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
	hc := healthpb.NewHealthClient(connect(t, addr))
	for _, service := range []string{"", "p2pd.v1.SchedulerService"} {
		got, err := hc.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, got, err)
		}
	}
}

// What the brain gives as a ticket is signed on its way; what cannot be signed is not sent, and
// holds up nothing.
func TestTicketsAreSigned(t *testing.T) {
	t.Parallel()
	core := brain(func(e scheduler.Event) []scheduler.Decision {
		j, ok := e.(scheduler.Join)
		if !ok {
			return nil
		}
		return []scheduler.Decision{
			scheduler.Ticket{To: j.Peer, Digest: piece.Sum(nil), Reason: "x"}, scheduler.Ticket{To: j.Peer, Reason: "x"},
			scheduler.Revoke{To: j.Peer, Lease: 1, Reason: "the last"},
		}
	})
	_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: core, Ticket: func(to scheduler.PeerID, d piece.Digest) ([]byte, error) {
		if d.IsZero() {
			return nil, errors.New("no such blob")
		}
		return []byte("for " + string(to)), nil
	}})
	h, _, _ := dial(t, addr, "a")
	next(t, "stream", h.attached).Send(scheduler.Join{Blobs: []scheduler.Membership{blob}})
	got, ok := next(t, "decision", h.decisions).(scheduler.Ticket)
	if !ok || string(got.Signed) != "for a" || got.Digest != piece.Sum(nil) {
		t.Errorf("%+v", got)
	}
	if last, ok := next(t, "decision", h.decisions).(scheduler.Revoke); !ok {
		t.Errorf("%+v", last)
	}

	_, addr, _ = serve(t, "127.0.0.1:0", ServerConfig{Core: core}) // it cannot sign
	h, _, _ = dial(t, addr, "a")
	next(t, "stream", h.attached).Send(scheduler.Join{Blobs: []scheduler.Membership{blob}})
	if d, ok := next(t, "decision", h.decisions).(scheduler.Revoke); !ok {
		t.Errorf("%+v", d)
	}
}

// Peers know by a stream's headers what is taken of them. Who asks for any response
// gets one.
func TestWhatTheSchedulerTakes(t *testing.T) {
	_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
	g := attachRaw(t, addr, "a")
	header, err := g.Header()
	if diff := cmp.Diff([]string{takesTable, takesBeat}, header.Get(takesKey)); diff != "" || err != nil {
		t.Errorf("%v; header differs (-want +got):\n%s", err, diff)
	}
	for range 2 {
		if err := g.Send(&p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Beat{Beat: &p2pdv1.Beat{}}}); err != nil {
			t.Fatal(err)
		}
		if m, err := g.Recv(); err != nil || proto.Size(m) != 0 {
			t.Errorf("%v, %v; want nothing said", m, err)
		}
	}
}
