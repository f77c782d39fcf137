package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/internal/mirror"
	"github.com/p2pd/p2pd/internal/origin"
	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/internal/throttle"
	"github.com/p2pd/p2pd/internal/transport"
	"github.com/p2pd/p2pd/pkg/peer"
)

// Node is one p2pd: its parts, wired but not yet running.
type Node struct {
	cfg    NodeConfig
	log    *slog.Logger
	store  *store.Store
	origin *origin.Origin
	net    *transport.Transport
	peer   *peer.Peer
	mirror *mirror.Mirror
	client *rpc.Client // nil without a scheduler
	hub    *Hub        // nil unless embedded
	admin  *admin

	mirrorL, httpL net.Listener
	serving        atomic.Bool
}

// NewNode opens the store and all listeners, so that what cannot work fails
// here, with a clear error, and not later. Run must be called.
func NewNode(cfg NodeConfig, version string, log *slog.Logger) (n *Node, err error) {
	n = &Node{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			n.abandon()
		}
	}()
	if n.store, err = store.Open(store.Config{
		Dir: cfg.Store.Path, Capacity: int64(cfg.Store.Capacity), KeepFree: int64(cfg.Store.KeepFree), Logger: log,
	}); err != nil {
		return n, err
	}
	upload, download := throttle.NewLimiter(int64(cfg.Limits.Upload)), throttle.NewLimiter(int64(cfg.Limits.Download))
	keyFile := cfg.Peer.KeyFile
	if keyFile == "" {
		keyFile = filepath.Join(cfg.Store.Path, "key")
	}
	if n.net, err = transport.New(transport.Config{
		KeyFile: keyFile, Listen: cfg.Peer.Listen, Bulk: cfg.Peer.BulkListen, Advertise: cfg.Peer.Advertise,
		Zone: cfg.Topology.Zone, Rack: cfg.Topology.Rack, Upload: upload, Download: download,
		ClearBulk: !*cfg.Peer.BulkTLS, Logger: log,
	}); err != nil {
		return n, err
	}
	var registries []origin.Registry
	for _, r := range cfg.Registries {
		registries = append(registries, origin.Registry{Host: r.Host, Endpoint: r.Endpoint})
	}
	if n.origin, err = origin.New(origin.Config{
		Registries: registries, AllowAll: *cfg.AllowAllRegistries, Download: download,
		UserAgent: "p2pd/" + version, Logger: log,
	}); err != nil {
		return n, err
	}
	n.peer = peer.New(peer.Config{
		Self: n.net.Self(), Store: n.store, Network: n.net, UploadSlots: cfg.Peer.UploadSlots, Logger: log,
	})
	if n.mirror, err = mirror.New(mirror.Config{
		Blobs: blobs{n.peer}, Registries: registriesOf{n.origin}, DefaultRegistry: cfg.Mirror.DefaultRegistry,
		Drain: time.Duration(cfg.Mirror.Drain), Log: log,
	}); err != nil {
		return n, err
	}
	if err = n.listen(version); err != nil {
		return n, err
	}
	return n, nil
}

// listen opens the listeners and what stands behind them.
func (n *Node) listen(version string) error {
	var err error
	if n.mirrorL, err = net.Listen("tcp", n.cfg.Mirror.Listen); err != nil {
		return fmt.Errorf("mirror.listen: %w", err)
	}
	if n.httpL, err = net.Listen("tcp", n.cfg.HTTP.Listen); err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	address := n.cfg.Scheduler.Address
	if e := n.cfg.EmbeddedScheduler; e.Enabled {
		if n.hub, err = newHub(HubConfig{Listen: e.Listen}, n.log); err != nil {
			return err
		}
		address = n.hub.addressHere()
	}
	if address != "" {
		n.client = rpc.NewClient(rpc.ClientConfig{Address: address, Self: n.net.Self(), Handler: n.peer, Logger: n.log})
	}
	n.admin = newAdmin(n.metricsHandler(version), n.readiness)
	return nil
}

// readiness does not depend on peers or a scheduler: without them the node
// serves from the origin.
func (n *Node) readiness() error {
	if !n.serving.Load() {
		return errors.New("not serving: starting or shutting down")
	}
	return nil
}

// Handler is the mirror's, for tests.
func (n *Node) Handler() http.Handler { return n.mirror }

// Run serves until ctx ends. Then client streams that are running are
// finished, within mirror.drain, while pieces still come and go; only after
// that the peer leaves the swarm.
func (n *Node) Run(ctx context.Context) error {
	defer n.store.Close()
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, inner := errgroup.WithContext(inner)
	g.Go(func() error { return n.net.Run(inner, faulty(n.peer)) })
	g.Go(func() error { return n.peer.Run(inner) })
	g.Go(func() error { return n.admin.run(inner, n.httpL) })
	if n.hub != nil {
		g.Go(func() error { return n.hub.serve(inner) })
	}
	if n.client != nil {
		g.Go(func() error { return n.client.Run(inner) })
	}
	g.Go(func() error {
		defer stop()
		front, cancel := context.WithCancel(ctx)
		defer cancel()
		context.AfterFunc(inner, cancel)
		context.AfterFunc(front, func() { n.serving.Store(false) })
		n.serving.Store(true)
		n.log.Info("serving", "mirror", n.mirrorL.Addr(), "peer", n.net.Self().ID, "scheduler", n.cfg.Scheduler.Address)
		return n.mirror.Serve(front, n.mirrorL)
	})
	return g.Wait()
}

// abandon closes what NewNode had opened before it failed.
func (n *Node) abandon() {
	for _, l := range []net.Listener{n.mirrorL, n.httpL} {
		if l != nil {
			_ = l.Close()
		}
	}
	if n.hub != nil {
		_ = n.hub.l.Close()
	}
	if n.net != nil {
		done, cancel := context.WithCancel(context.Background())
		cancel()
		_ = n.net.Run(done, n.peer)
	}
	if n.store != nil {
		_ = n.store.Close()
	}
}
