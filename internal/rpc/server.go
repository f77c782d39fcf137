package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

const (
	// eventQueue is how many events may wait for the brain. When it is full
	// the streams' readers wait, which holds the peers back over TCP.
	eventQueue = 4096
	// decisionQueue is how many decisions may wait for one peer. A peer
	// that does not read them is disconnected; it comes back and announces
	// everything anew.
	decisionQueue = 1024
	// keepaliveEvery and keepaliveWait find peers whose host is gone.
	keepaliveEvery = 5 * time.Second
	keepaliveWait  = 3 * time.Second
	// connBuffer is the read and the write buffer of a connection: with
	// ten thousand of them the default 32 KiB each would be 640 MiB.
	connBuffer = 4 << 10
	// stopWait is how long streams may take to end at shutdown.
	stopWait = 2 * time.Second
)

// Core is the brain that the server drives. *scheduler.Scheduler is one.
type Core interface {
	Step(now time.Time, e scheduler.Event) []scheduler.Decision
}

// ServerConfig is what a Server is made of. Core must be set.
type ServerConfig struct {
	Core   Core
	Logger *slog.Logger
	// Credentials secure the listener; nil speaks plaintext.
	Credentials credentials.TransportCredentials
}

// Server is the gRPC shell around one scheduler.
type Server struct {
	p2pdv1.UnimplementedSchedulerServiceServer
	cfg    ServerConfig
	log    *slog.Logger
	inbox  chan func() // everything that touches core or streams
	ended  chan struct{}
	events [7]atomic.Int64
	pumps  sync.WaitGroup // two goroutines a stream

	streams map[scheduler.PeerID]*stream // owned by the loop

	connected, overflows, malformed atomic.Int64
}

// ServerStats are totals, but for Connected.
type ServerStats struct {
	Connected int64 // gauge: peers with a stream
	Overflows int64 // streams closed because the peer did not read
	Malformed int64 // streams closed because of a malformed message
	// Events by kind: hello, join, leave, summary, blame, lease_end.
	Events map[string]int64
}

// stream is one peer's.
type stream struct {
	peer scheduler.Peer
	out  chan *p2pdv1.AttachResponse
	quit chan struct{} // closed by the loop when the stream must end
}

// NewServer makes a server.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		cfg: cfg, log: cfg.Logger,
		inbox: make(chan func(), eventQueue), ended: make(chan struct{}),
		streams: make(map[scheduler.PeerID]*stream),
	}
}

// Run serves on l until ctx ends. It closes l.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.ReadBufferSize(connBuffer), grpc.WriteBufferSize(connBuffer),
		grpc.MaxConcurrentStreams(16),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveEvery, Timeout: keepaliveWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}
	if s.cfg.Credentials != nil {
		opts = append(opts, grpc.Creds(s.cfg.Credentials))
	}
	g := grpc.NewServer(opts...)
	p2pdv1.RegisterSchedulerServiceServer(g, s)
	healthpb.RegisterHealthServer(g, health.NewServer())

	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	s.loop(ctx)
	close(s.ended)
	stopped := make(chan struct{})
	go func() { g.GracefulStop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(stopWait):
		g.Stop()
		<-stopped
	}
	s.pumps.Wait()
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve scheduler on %s: %w", l.Addr(), err)
	}
	return nil
}

// loop owns the core and the set of streams.
func (s *Server) loop(ctx context.Context) {
	tick := time.NewTicker(scheduler.TickEvery)
	defer tick.Stop()
	for {
		select {
		case f := <-s.inbox:
			f()
		case <-tick.C:
			s.step(scheduler.Tick{})
		case <-ctx.Done():
			return
		}
	}
}

// do runs f in the loop; false once the server has ended.
func (s *Server) do(f func()) bool {
	select {
	case s.inbox <- f:
		return true
	case <-s.ended:
		return false
	}
}

// Inspect runs f in the loop, where it may look at the core.
func (s *Server) Inspect(ctx context.Context, f func(Core)) error {
	done := make(chan struct{})
	if !s.do(func() { f(s.cfg.Core); close(done) }) {
		return errors.New("scheduler has stopped")
	}
	select {
	case <-done:
		return nil
	case <-s.ended:
		return errors.New("scheduler has stopped")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// step lets the core decide and queues what it decided.
func (s *Server) step(e scheduler.Event) {
	for _, d := range s.cfg.Core.Step(time.Now(), e) {
		st := s.streams[d.Recipient()]
		if st == nil {
			continue
		}
		s.log.Debug("decided", "peer", d.Recipient(), "decision", fmt.Sprintf("%T", d), "reason", d.Why())
		select {
		case st.out <- encodeDecision(d):
		default:
			s.overflows.Add(1)
			s.log.Warn("peer does not read its decisions; its stream is closed", "peer", st.peer.ID)
			s.drop(st)
		}
	}
}

// stepFrom steps if st is still its peer's stream.
func (s *Server) stepFrom(st *stream, e scheduler.Event) {
	if s.streams[st.peer.ID] == st {
		s.step(e)
	}
}

// admit makes st the stream of its peer, in place of an older one.
func (s *Server) admit(st *stream) {
	if old := s.streams[st.peer.ID]; old != nil {
		close(old.quit)
		s.connected.Add(-1)
		s.step(scheduler.PeerDown{Peer: st.peer.ID})
	}
	s.streams[st.peer.ID] = st
	s.connected.Add(1)
	s.step(scheduler.PeerUp{Peer: st.peer})
}

// drop ends st if it is still its peer's stream.
func (s *Server) drop(st *stream) {
	if s.streams[st.peer.ID] != st {
		return
	}
	delete(s.streams, st.peer.ID)
	close(st.quit)
	s.connected.Add(-1)
	s.step(scheduler.PeerDown{Peer: st.peer.ID})
}

// Attach implements the service.
func (s *Server) Attach(g grpc.BidiStreamingServer[p2pdv1.AttachRequest, p2pdv1.AttachResponse]) error {
	first, err := g.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		s.malformed.Add(1)
		return status.Error(codes.InvalidArgument, "the first message must be a hello")
	}
	peer, err := decodePeer(hello.GetPeer())
	if err != nil {
		s.malformed.Add(1)
		return status.Error(codes.InvalidArgument, err.Error())
	}
	s.events[0].Add(1)
	st := &stream{peer: peer, out: make(chan *p2pdv1.AttachResponse, decisionQueue), quit: make(chan struct{})}
	if !s.do(func() { s.admit(st) }) {
		return status.Error(codes.Unavailable, "scheduler is stopping")
	}
	defer s.do(func() { s.drop(st) })
	s.log.Debug("peer attached", "peer", peer.ID, "zone", peer.Zone, "rack", peer.Rack)

	received, sent := make(chan error, 1), make(chan error, 1)
	s.pumps.Go(func() { received <- s.receive(g, st) })
	s.pumps.Go(func() { sent <- send(g, st.out) })
	// Returning ends g's context, and with it both pumps; also one that is
	// stuck in a Send to a peer that does not read.
	select {
	case err := <-sent:
		return err
	case err := <-received:
		return err
	case <-st.quit:
		return status.Error(codes.Aborted, "this stream was replaced or did not keep up")
	case <-s.ended:
		return status.Error(codes.Unavailable, "scheduler is stopping")
	}
}

// send passes decisions on until the stream ends.
func send(g grpc.BidiStreamingServer[p2pdv1.AttachRequest, p2pdv1.AttachResponse], out <-chan *p2pdv1.AttachResponse) error {
	for {
		select {
		case m := <-out:
			if err := g.Send(m); err != nil {
				return err
			}
		case <-g.Context().Done():
			return g.Context().Err()
		}
	}
}

// receive passes a stream's events on until it ends. What still comes from a
// stream that has been dropped or replaced is not heard: it would be taken
// for the word of the one that came after.
func (s *Server) receive(g grpc.BidiStreamingServer[p2pdv1.AttachRequest, p2pdv1.AttachResponse], st *stream) error {
	for {
		m, err := g.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := decodeEvent(st.peer.ID, m)
		if err != nil {
			s.malformed.Add(1)
			return status.Error(codes.InvalidArgument, err.Error())
		}
		if e == nil {
			continue
		}
		s.events[kindOf(e)].Add(1)
		if !s.do(func() { s.stepFrom(st, e) }) {
			return status.Error(codes.Unavailable, "scheduler is stopping")
		}
	}
}

var kinds = [7]string{"hello", "join", "leave", "summary", "blame", "lease_end", "other"}

func kindOf(e scheduler.Event) int {
	switch e.(type) {
	case scheduler.Join:
		return 1
	case scheduler.Leave:
		return 2
	case scheduler.Summary:
		return 3
	case scheduler.Blame:
		return 4
	case scheduler.LeaseEnd:
		return 5
	}
	return 6
}

// Stats returns the counters.
func (s *Server) Stats() ServerStats {
	st := ServerStats{
		Connected: s.connected.Load(), Overflows: s.overflows.Load(), Malformed: s.malformed.Load(),
		Events: make(map[string]int64),
	}
	for i, k := range kinds[:6] {
		st.Events[k] = s.events[i].Load()
	}
	return st
}
