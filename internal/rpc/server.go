package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// Defaults of ServerConfig.
const (
	// DefaultEventQueue is how many events may wait for the brain. When it
	// is full the streams' readers wait, which holds the peers back over TCP.
	DefaultEventQueue = 4096
	// DefaultDecisionQueue is how many decisions may wait for one peer: a
	// node that joins an image of twenty layers in a flash crowd gets some
	// hundreds within a second.
	DefaultDecisionQueue = 1024
)

const (
	// silence is how long a connection may say nothing: two and a half beats. One
	// that answers late is busy: cut off, it would come back and have all said again.
	silence = 25 * time.Second
	// keepaliveEvery is how often who says nothing is pinged; peers say something more
	// often than that.
	keepaliveEvery = 12 * time.Second
	// pingsUnanswered is how long gRPC waits for an answer to a ping: for good, as it
	// goes by the time of day (beat.go).
	pingsUnanswered = 24 * time.Hour
	// pingLeast is how often a peer may ping without being taken for a
	// nuisance.
	pingLeast = time.Second
	// connBuffer is the read and the write buffer of a connection: with
	// ten thousand of them the default 32 KiB each would be 640 MiB.
	connBuffer = 4 << 10
	// connWindow is how many bytes a peer may send before the brain has
	// taken them. Fixed, the smallest that gRPC knows: if it grew with the
	// bandwidth, a crowd held back would fill the scheduler's memory.
	connWindow = 64 << 10
	// connStreams leaves room for health checks beside the one stream.
	connStreams = 16
	// helloWait is how long a connection may take until it is set up, and
	// a stream until it has said hello.
	helloWait = 10 * time.Second
	// idleWait is how long a connection without a stream is kept.
	idleWait = time.Minute
	// stopWait is how long streams may take to end at shutdown.
	stopWait = 2 * time.Second
)

// Core is the brain that the server drives. *scheduler.Scheduler is one.
type Core interface {
	Step(now time.Time, e scheduler.Event) []scheduler.Decision
}

// ServerConfig is what a Server is made of. Core must be set; the zero value
// of each other field means its default.
type ServerConfig struct {
	Core   Core
	Logger *slog.Logger // nil logs nothing
	// Name is HOST:PORT where peers reach this scheduler, if there are others
	// beside it; see SetRoster.
	Name string
	// Rack says in which rack a machine is whose peer does not say; empty if it is
	// not known. A peer waits for it at the door. Nil knows none.
	Rack func(ctx context.Context, node string) string
	// Guard keeps strangers out; nil lets everybody in, in plaintext.
	Guard *Guard
	// Preheat takes what peers report on jobs. It is called from many goroutines
	// and must not block. Nil: nobody wants to know.
	Preheat func(scheduler.PreheatReport)
	// Report takes what peers tell for people. It is called from many goroutines and
	// must not block. Nil: nobody wants to know.
	Report func(now time.Time, from scheduler.Peer, r ledger.Report)
	// Expel is told whom members blame for false bytes, so that the Guard lets it in
	// no more. It is called from the loop and must not block. Nil: nobody wants to know.
	Expel func(scheduler.Expel)
	// Ticket signs tickets that Core gives, in a strict cluster. It is called from many
	// goroutines. Where it is nil or fails, the peer gets none.
	Ticket func(to scheduler.PeerID, d piece.Digest) ([]byte, error)
	// EventQueue is how many events may wait for Core.
	EventQueue int
	// DecisionQueue is how many decisions may wait for one peer. A peer
	// that lets it run over is disconnected; it comes back and announces
	// everything anew.
	DecisionQueue int
}

// Server is the gRPC shell around one scheduler.
type Server struct {
	p2pdv1.UnimplementedSchedulerServiceServer
	cfg     ServerConfig
	log     *slog.Logger
	inbox   chan func() // everything that touches core or streams
	ended   chan struct{}
	pumps   sync.WaitGroup // the goroutines of streams beside gRPC's own
	vouches vouches

	// Owned by the loop:
	roster  scheduler.Roster // of this scheduler and others; zero if it is alone
	lately  []scheduler.Peer // who attached last, the latest at the end
	streams map[scheduler.PeerID]*stream
	slow    []scheduler.PeerID // whose streams ended in this step

	events                          [numKinds]atomic.Int64
	connected, overflows, malformed atomic.Int64
	enrolled, refused, excess       atomic.Int64
	skipped                         atomic.Int64
}

// NewServer makes a server.
func NewServer(cfg ServerConfig) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.EventQueue <= 0 {
		cfg.EventQueue = DefaultEventQueue
	}
	if cfg.DecisionQueue <= 0 {
		cfg.DecisionQueue = DefaultDecisionQueue
	}
	return &Server{
		cfg: cfg, log: cfg.Logger,
		inbox: make(chan func(), cfg.EventQueue), ended: make(chan struct{}),
		streams: make(map[scheduler.PeerID]*stream),
		vouches: vouches{of: scheduler.NewVouches()},
	}
}

// Run serves on l until ctx ends or l fails. It closes l. A server runs once.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := grpc.NewServer(s.options()...)
	p2pdv1.RegisterSchedulerServiceServer(g, s)
	if s.cfg.Guard != nil {
		p2pdv1.RegisterMembershipServiceServer(g, enrolment{s: s})
	}
	alive := health.NewServer()
	alive.SetServingStatus(p2pdv1.SchedulerService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, alive)

	served := make(chan error, 1)
	go func() { served <- g.Serve(listener{l, silence}); cancel() }()
	s.loop(ctx)
	close(s.ended)
	alive.Shutdown()
	stop(g)
	s.pumps.Wait()
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve scheduler on %s: %w", l.Addr(), err)
	}
	return nil
}

func (s *Server) options() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.ReadBufferSize(connBuffer), grpc.WriteBufferSize(connBuffer),
		grpc.StaticStreamWindowSize(connWindow), grpc.StaticConnWindowSize(connWindow),
		grpc.MaxConcurrentStreams(connStreams),
		grpc.ConnectionTimeout(helloWait),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveEvery, Timeout: pingsUnanswered, MaxConnectionIdle: idleWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingLeast, PermitWithoutStream: true}),
	}
	return append(opts, s.cfg.Guard.options()...)
}

// stop ends g: gently for stopWait, then at once.
func stop(g *grpc.Server) {
	stopped := make(chan struct{})
	go func() { g.GracefulStop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(stopWait):
		g.Stop()
		<-stopped
	}
}

// kind tells events apart for counting.
type kind int

const (
	kindHello kind = iota
	kindJoin
	kindLeave
	kindSummary
	kindBlame
	kindLeaseEnd
	kindDispute
	kindPreheat
	kindReport
	numKinds
)

// String is the name that ServerStats.Events has for a kind.
func (k kind) String() string {
	return [numKinds]string{"hello", "join", "leave", "summary", "blame", "lease_end", "dispute", "preheat", "report"}[k]
}

// count counts an event that a peer sent.
func (s *Server) count(e scheduler.Event) {
	k := kindHello
	switch e.(type) {
	case scheduler.Join:
		k = kindJoin
	case scheduler.Leave:
		k = kindLeave
	case scheduler.Summary:
		k = kindSummary
	case scheduler.Blame:
		k = kindBlame
	case scheduler.LeaseEnd:
		k = kindLeaseEnd
	case scheduler.Dispute:
		k = kindDispute
	case scheduler.PreheatReport:
		k = kindPreheat
	}
	s.events[k].Add(1)
}

// ServerStats are totals, but for Connected.
type ServerStats struct {
	Connected int64 // gauge: peers with a stream
	Overflows int64 // streams closed because the peer did not read
	Malformed int64 // streams closed because of a malformed message
	Enrolled  int64 // credentials given out
	Refused   int64 // and refused
	// Excess are reports of peers that sent too many, which were not read.
	Excess int64
	// Skipped are summaries that were left out because too much waited for the brain.
	Skipped int64
	// Events by kind: hello, join, leave, summary, blame, lease_end, dispute,
	// preheat, report.
	Events map[string]int64
}

// Stats returns the counters. What the core counts is to be had by Inspect.
func (s *Server) Stats() ServerStats {
	st := ServerStats{
		Connected: s.connected.Load(), Overflows: s.overflows.Load(), Malformed: s.malformed.Load(),
		Enrolled: s.enrolled.Load(), Refused: s.refused.Load(), Excess: s.excess.Load(), Skipped: s.skipped.Load(),
		Events: make(map[string]int64, numKinds),
	}
	for k := range numKinds {
		st.Events[k.String()] = s.events[k].Load()
	}
	return st
}
