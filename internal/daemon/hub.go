package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/p2pd/p2pd/internal/cluster"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/internal/origin"
	"github.com/p2pd/p2pd/internal/preheat"
	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// inspectTimeout bounds what a scrape waits for the brain.
const inspectTimeout = time.Second

// Hub is one scheduler: the brain, its gRPC shell and its listeners.
type Hub struct {
	cfg     HubConfig
	version string
	log     *slog.Logger
	core    *scheduler.Scheduler // the server's loop owns it
	server  *rpc.Server
	l       net.Listener
	key     member.Key       // zero if the cluster is open
	fleet   *cluster.Cluster // nil if there are no other schedulers
	httpL   net.Listener     // nil if embedded: the node's serves for both
	admin   *admin           // nil where operators cannot ask
	desk    *preheat.Desk    // takes preheat jobs
	hooksL  net.Listener     // nil where registries cannot ask
	pageL   net.Listener     // nil where nobody watches from elsewhere
	ledger  ledger.Ledger    // what nodes tell for people
	bans    *member.Bans
	unkept  sync.Once // guards a warning
}

// NewHub opens the listeners. Run must be called.
func NewHub(cfg HubConfig, version string, log *slog.Logger) (*Hub, error) {
	o, err := preheatOrigin(cfg.Preheat, version, log)
	if err != nil {
		return nil, err
	}
	h, err := newHub(cfg, o, log)
	if err != nil {
		return nil, err
	}
	h.version = version
	for _, step := range []func() error{
		func() (err error) { h.httpL, err = listenAt("http.listen", cfg.HTTP.Listen); return err },
		func() (err error) { h.admin, err = openAdmin(cfg.Admin, version, log); return err },
		func() (err error) { h.hooksL, err = cfg.Preheat.hooks().open(); return err },
		func() (err error) { h.pageL, err = cfg.Page.listener().open(); return err },
		h.newFleet,
	} {
		if err := step(); err != nil {
			h.abandon()
			return nil, err
		}
	}
	return h, nil
}

// listenAt opens a listener that a key of the configuration names.
func listenAt(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

// abandon closes what NewHub had opened before it failed. Nothing was served yet.
func (h *Hub) abandon() {
	if h.admin != nil {
		_ = h.admin.l.Close()
	}
	for _, l := range []net.Listener{h.l, h.httpL, h.hooksL, h.pageL} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// newHub makes what a scheduler is with or without a process of its own. Preheat
// jobs look images up at o.
func newHub(cfg HubConfig, o *origin.Origin, log *slog.Logger) (*Hub, error) {
	bans, err := cfg.Membership.bans()
	if err != nil {
		return nil, err
	}
	fence, err := cfg.Membership.fence(bans)
	if err != nil {
		return nil, err
	}
	if fence.made {
		log.Info("made a key for a new cluster; nodes join with what the command 'token' prints", "file", cfg.Membership.KeyFile)
	}
	if fence.guard == nil {
		log.Warn("open to everybody who reaches it, in plaintext (membership.mode open)")
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	seed := cfg.Seed
	if seed == 0 {
		seed = rand.Uint64()
	}
	core := scheduler.New(scheduler.Config{
		Seed: seed, FirstLease: scheduler.LeaseID(rand.Uint64N(1 << 62)),
		Tickets: cfg.Membership.Strict, OriginNearer: cfg.Zones.OriginNearer,
	})
	h := &Hub{cfg: cfg, log: log, l: l, core: core, key: fence.key, bans: bans}
	h.recall()
	h.server = rpc.NewServer(rpc.ServerConfig{
		Rack: cfg.Zones.racks(fence.platform, log),
		Core: core, Name: cfg.Fleet.Advertise, Guard: fence.guard, Logger: log,
		Preheat: func(r scheduler.PreheatReport) { h.desk.Reported(r) }, Expel: h.expelled,
		Report: h.ledger.Take,
		Ticket: func(to scheduler.PeerID, d piece.Digest) ([]byte, error) {
			return fence.authority.Ticket(string(to), d)
		},
	})
	h.desk = preheat.NewDesk(h.preheats(o, fence))
	return h, nil
}

// Addr is where peers connect.
func (h *Hub) Addr() net.Addr { return h.l.Addr() }

// HooksAddr is where registries ask for preheats; nil if they cannot.
func (h *Hub) HooksAddr() net.Addr {
	if h.hooksL == nil {
		return nil
	}
	return h.hooksL.Addr()
}

// PageAddr is where the live page is for others; nil if nowhere.
func (h *Hub) PageAddr() net.Addr {
	if h.pageL == nil {
		return nil
	}
	return h.pageL.Addr()
}

// HTTPAddr is where health and metrics are.
func (h *Hub) HTTPAddr() net.Addr { return h.httpL.Addr() }

// addressHere is how a client in the same process reaches the hub.
func (h *Hub) addressHere() string {
	a, ok := h.l.Addr().(*net.TCPAddr)
	if ok && a.IP.IsUnspecified() {
		return fmt.Sprintf("127.0.0.1:%d", a.Port)
	}
	return h.l.Addr().String()
}

// coreStats asks the brain for its counters, which its loop owns.
func (h *Hub) coreStats(ctx context.Context) (scheduler.Stats, error) {
	found := make(chan scheduler.Stats, 1) // Inspect may give up before it runs
	if err := h.server.Inspect(ctx, func(rpc.Core) { found <- h.core.Stats() }); err != nil {
		return scheduler.Stats{}, err
	}
	return <-found, nil
}

// answers is the readiness check: the loop answers.
func (h *Hub) answers(ctx context.Context) error {
	_, err := h.coreStats(ctx)
	return err
}

// serve introduces peers until ctx ends.
func (h *Hub) serve(ctx context.Context) error {
	h.log.Info("scheduling", "listen", h.l.Addr().String())
	return h.server.Run(ctx, h.l)
}

// Run serves until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	stopping := check{name: "shutdown", fails: func(context.Context) error { return ctx.Err() }}
	admin := newAdmin(h.metricsHandler(), h.cfg.HTTP.Pprof, []check{stopping, {name: "scheduler", fails: h.answers}})
	parts := []part{
		{"health and metrics", func(ctx context.Context) error { return serveAdmin(ctx, h.httpL, admin) }},
		{"scheduler", h.serve},
		{"preheats", h.desk.Run},
	}
	if h.admin != nil {
		parts = append(parts, part{"operators", func(ctx context.Context) error { return h.admin.run(ctx, h) }})
	}
	if h.hooksL != nil {
		parts = append(parts, part{"registries", h.hooked})
	}
	if h.pageL != nil {
		parts = append(parts, part{"live page", h.paged})
	}
	if h.fleet != nil {
		parts = append(parts, part{"other schedulers", h.withOthers})
	}
	return runParts(ctx, parts)
}
