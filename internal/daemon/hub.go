package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Hub is one scheduler: the brain, its gRPC shell and its listeners.
type Hub struct {
	log     *slog.Logger
	server  *rpc.Server
	l       net.Listener
	httpL   net.Listener
	admin   *admin
	serving atomic.Bool
}

// NewHub opens the listeners. Run must be called.
func NewHub(cfg HubConfig, version string, log *slog.Logger) (*Hub, error) {
	h, err := newHub(cfg, log)
	if err != nil {
		return nil, err
	}
	if h.httpL, err = net.Listen("tcp", cfg.HTTP.Listen); err != nil {
		_ = h.l.Close()
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	h.admin = newAdmin(h.metricsHandler(version), func() error {
		if !h.serving.Load() {
			return errors.New("not serving: starting or shutting down")
		}
		return nil
	})
	return h, nil
}

func newHub(cfg HubConfig, log *slog.Logger) (*Hub, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("scheduler listen: %w", err)
	}
	seed := cfg.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	return &Hub{
		log: log, l: l,
		server: rpc.NewServer(rpc.ServerConfig{Core: scheduler.New(scheduler.Config{Seed: seed}), Logger: log}),
	}, nil
}

// addressHere is how a client in the same process reaches the hub.
func (h *Hub) addressHere() string {
	a := h.l.Addr().(*net.TCPAddr) //nolint:forcetypeassert // net.Listen("tcp") gave it
	if a.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", a.Port)
	}
	return a.String()
}

// coreStats asks the brain for its counters; zeros once it has ended.
func (h *Hub) coreStats() (st scheduler.Stats) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	found := make(chan scheduler.Stats, 1)
	_ = h.server.Inspect(ctx, func(c rpc.Core) {
		if s, ok := c.(*scheduler.Scheduler); ok {
			found <- s.Stats()
		}
	})
	select {
	case st = <-found:
	default:
	}
	return st
}

func (h *Hub) serve(ctx context.Context) error {
	h.serving.Store(true)
	defer h.serving.Store(false)
	h.log.Info("scheduling", "listen", h.l.Addr())
	return h.server.Run(ctx, h.l)
}

// Run serves until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return h.serve(ctx) })
	g.Go(func() error { return h.admin.run(ctx, h.httpL) })
	return g.Wait()
}
