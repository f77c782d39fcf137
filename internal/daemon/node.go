package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/p2pd/p2pd/internal/containerd"
	"github.com/p2pd/p2pd/internal/discovery"
	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/mirror"
	"github.com/p2pd/p2pd/internal/origin"
	"github.com/p2pd/p2pd/internal/preheat"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/internal/tracing"
	"github.com/p2pd/p2pd/internal/transport"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Node is one p2pd: its parts, wired but not yet running.
type Node struct {
	cfg       NodeConfig
	version   string
	log       *slog.Logger
	store     *store.Store
	held      peer.Store // store, and what else is held
	origin    *origin.Origin
	net       *transport.Transport
	peer      *peer.Peer
	mirror    *mirror.Mirror
	may       gate
	journal   journal.Journal
	pulls     *pulls.Tracker
	tracer    *tracing.Tracer // nil unless enabled
	libp2p    *prometheus.Registry
	limits    *limits
	reload    reload
	papers    *papers              // nil in an open cluster
	client    *rpc.Fleet           // nil without a scheduler
	preheats  *preheat.Agent       // as client
	reports   *ledger.Reporter     // nil without a scheduler
	hub       *Hub                 // nil unless embedded
	directory *discovery.Discovery // nil unless enabled
	content   *containerd.Content  // nil unless containerd's content is used

	mirrorL, httpL net.Listener
	localL         net.Listener
}

// NewNode opens the store and all listeners, so that what cannot work fails
// here, with a clear error, and not later. cfg must be valid. Run must be
// called.
func NewNode(cfg NodeConfig, version string, log *slog.Logger) (*Node, error) {
	n := &Node{cfg: cfg, version: version, log: log}
	if n.cfg.EmbeddedScheduler.Enabled || len(n.cfg.Scheduler.doors()) > 0 {
		n.newReporter()
	}
	for _, step := range []func() error{n.open, n.wire, n.listen, n.introduce} {
		if err := step(); err != nil {
			n.abandon()
			return nil, err
		}
	}
	return n, nil
}

// open makes the parts that hold something: the disk, and the peer's face to
// the others.
func (n *Node) open() (err error) {
	s, p := n.cfg.Store, n.cfg.Peer
	if n.store, err = store.Open(store.Config{
		Dir: s.Path, Capacity: int64(s.Capacity), KeepFree: int64(s.KeepFree.Bytes), KeepFreeShare: s.KeepFree.Percent / 100, Logger: n.log,
		Gone: func(d piece.Digest) { n.peer.Withdraw(d) },
	}); err != nil {
		return fmt.Errorf("store.path: %w", err)
	}
	if p.KeyFile == "" {
		p.KeyFile = filepath.Join(s.Path, "key")
	}
	n.limits = newLimits(n.cfg.Limits, n.log)
	id, err := transport.IdentityOf(p.KeyFile)
	if err != nil {
		return fmt.Errorf("peer.keyFile: %w", err)
	}
	if n.papers, err = newPapers(n.cfg, string(id)); err != nil {
		return err
	}
	if err := n.newTracer(string(id)); err != nil {
		return err
	}
	n.libp2p = prometheus.NewRegistry()
	if n.net, err = transport.New(transport.Config{
		KeyFile: p.KeyFile, Listen: p.Listen, Bulk: p.BulkListen, Advertise: p.Advertise,
		Zone: n.cfg.Topology.Zone, Rack: n.cfg.Topology.Rack,
		Upload: n.limits.upload, Download: n.limits.download, FarUpload: n.limits.farUpload, FarDownload: n.limits.farDownload,
		ClearBulk: !p.BulkTLS, Members: n.papers.forTransport(), Limits: n.cfg.Discovery.guests(), Tracer: n.tracer, Logger: n.log,
		Tickets: n.papers.forSwarms(), Metrics: n.libp2p,
	}); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	// Neighbours and the origin share one download limit: the line is one.
	n.origin, err = newOrigin(n.cfg.Registries, origin.Config{AllowAll: n.cfg.AllowAllRegistries, Download: n.limits.download, UserAgent: "p2pd/" + n.version, Logger: n.log})
	return err
}

// wire makes the parts that only hold on to others.
func (n *Node) wire() (err error) {
	n.held = n.holdings()
	if err := n.newDiscovery(); err != nil {
		return err
	}
	var directory peer.Directory // not a nil in an interface
	if n.directory != nil {
		directory = n.directory
	}
	n.peer = peer.New(peer.Config{
		Journal: &n.journal, Directory: directory, Self: n.net.Self(), Store: n.held, Network: n.net, UploadSlots: n.cfg.Peer.UploadSlots, Logger: n.log,
		Tickets: n.papers.forSwarms(),
	})
	if n.may, err = newGate(n.cfg, n.origin, commons{n}, n.tracer, n.log); err != nil {
		return err
	}
	engine := blobs{n.peer}
	fetch, err := mirror.ParseRangeFetch(n.cfg.Mirror.RangeFetch)
	if err != nil {
		return fmt.Errorf("mirror.rangeFetch: %w", err)
	}
	var ahead mirror.Ahead
	if n.cfg.Mirror.Prefetch {
		ahead = engine
	}
	n.pulls = pulls.New(pulls.Config{Registry: n.origin.Label, Registries: n.origin.Labels(), Ended: n.reports.Ended})
	n.mirror, err = mirror.New(mirror.Config{
		Journal: &n.journal, Refused: n.reports.Happened, Label: n.origin.Label, Pulls: n.pulls, Tracer: n.tracer,
		Blobs: engine, Ahead: ahead, Ranges: engine, RangeFetch: fetch, Arrivals: engine, Registries: registriesOf{n.origin}, Access: library{n.may, n.peer}, DefaultRegistry: n.cfg.Mirror.DefaultRegistry,
		Drain: time.Duration(n.cfg.Mirror.Drain), Log: n.log,
	})
	return err
}

// listen opens the listeners that are not the transport's.
func (n *Node) listen() (err error) {
	if n.mirrorL, err = net.Listen("tcp", n.cfg.Mirror.Listen); err != nil {
		return fmt.Errorf("mirror.listen: %w", err)
	}
	if n.httpL, err = net.Listen("tcp", n.cfg.HTTP.Listen); err != nil {
		return fmt.Errorf("http.listen: %w", err)
	}
	if n.localL, err = listenLocal(context.Background(), n.cfg.localSocket()); err != nil {
		return fmt.Errorf("local.socket: %w", err)
	}
	return nil
}

// introduce makes the way to the scheduler, if there is to be one.
func (n *Node) introduce() (err error) {
	doors := n.cfg.Scheduler.doors()
	if e := n.cfg.EmbeddedScheduler; e.Enabled {
		m := defaultHubMembership()
		m.Mode, m.KeyFile, m.Strict = e.Membership, n.cfg.clusterKeyHere(), n.cfg.Membership.Strict
		if n.hub, err = newHub(HubConfig{Listen: e.Listen, Membership: m}, n.origin, n.log); err != nil {
			return fmt.Errorf("embeddedScheduler.%w", err)
		}
		doors = []string{n.hub.addressHere()}
	}
	if len(doors) == 0 {
		return nil
	}
	m, err := n.papers.forScheduler(n.net, n.cfg.Topology.Zone)
	if err != nil {
		return fmt.Errorf("membership: %w", err)
	}
	var meet func([]scheduler.Peer)
	if n.directory != nil {
		meet = n.directory.Meet
	}
	self := n.net.Self()
	self.Platform = runtime.GOOS + "/" + runtime.GOARCH
	agent := preheat.AgentConfig{
		Self: self.ID, Engine: warming{n.peer, n.origin}, Report: func(r scheduler.PreheatReport) { n.client.Send(r) }, Logger: n.log,
	}
	if at := n.cfg.Containerd.CRISocket; at != "" {
		self.Unpacks, agent.Runtime = true, unpacking{at}
	}
	n.preheats = preheat.NewAgent(agent)
	n.client = rpc.NewFleet(rpc.FleetConfig{
		Doors: doors, Handler: n.peer, Shun: n.papers.shun(n.log), Meet: meet, Preheat: n.preheats.Take,
		Client: rpc.ClientConfig{Self: self, Membership: m, Logger: n.log},
	})
	return nil
}

// MirrorAddr is where containerd asks.
func (n *Node) MirrorAddr() net.Addr { return n.mirrorL.Addr() }

// Self is what other peers need to know to reach this one.
func (n *Node) Self() scheduler.Peer { return n.net.Self() }

// HTTPAddr is where health and metrics are.
func (n *Node) HTTPAddr() net.Addr { return n.httpL.Addr() }

// Run serves until ctx ends. Then, in this order: no new requests are taken
// and running ones are finished, within mirror.drain, while pieces still come
// and go; the peer leaves its swarms; downloads stop; neighbours are cut; and
// the store is closed.
func (n *Node) Run(ctx context.Context) error {
	admin := newAdmin(n.metricsHandler(), n.cfg.HTTP.Pprof, n.checks(ctx))
	parts := []part{{"health and metrics", func(ctx context.Context) error { return serveAdmin(ctx, n.httpL, admin) }}}
	if n.tracer != nil {
		parts = append(parts, part{"tracing", n.tracer.Run})
	}
	local := n.localHandler()
	parts = append(parts, part{"local commands", func(ctx context.Context) error { return serveAdmin(ctx, n.localL, local) }})
	if n.reload.read != nil {
		parts = append(parts, part{"configuration", n.followHangups})
	}
	if n.hub != nil {
		parts = append(parts, part{"embedded scheduler", n.hub.serve}, part{"embedded scheduler's preheats", n.hub.desk.Run})
	}
	parts = append(parts,
		part{"transport", func(ctx context.Context) error { return n.net.Run(ctx, faulty(n.peer)) }})
	if n.directory != nil {
		parts = append(parts, part{"discovery", n.directory.Run})
	}
	parts = append(parts, part{"peer", n.peer.Run})
	if n.directory != nil {
		parts = append(parts, part{"images", (&shelf{held: n.held, learn: n.peer.LearnImage}).run})
	}
	parts = append(parts, n.followContainerd()...)
	if n.client != nil {
		parts = append(parts, part{"schedulers' client", n.client.Run}, part{"preheats", n.preheats.Run}, part{"reports", n.reports.Run})
	}
	parts = append(parts, part{"mirror", func(ctx context.Context) error { return n.mirror.Serve(ctx, n.mirrorL) }})

	self := n.net.Self()
	n.log.Info("serving", "mirror", n.mirrorL.Addr().String(), "http", n.httpL.Addr().String(),
		"peer", self.ID, "addrs", self.Addrs, "bulk", self.Bulk, "scheduler", n.cfg.Scheduler.Address, "version", n.version)
	err := runParts(ctx, parts)
	if closeErr := n.store.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close store: %w", closeErr)
	}
	n.log.Info("stopped")
	return err
}

// checks are what /readyz asks. A scheduler is not needed: without one the
// node serves from the origin.
func (n *Node) checks(stop context.Context) []check {
	return []check{
		{name: "shutdown", fails: func(context.Context) error {
			if stop.Err() != nil {
				return errors.New("shutting down")
			}
			return nil
		}},
		{name: "store", fails: func(context.Context) error {
			_, err := os.Stat(n.cfg.Store.Path)
			return err
		}},
		{name: "mirror", fails: func(ctx context.Context) error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", n.mirrorL.Addr().String())
			if err != nil {
				return err
			}
			return conn.Close()
		}},
		{name: "scheduler", optional: true, fails: func(context.Context) error {
			if !n.peer.Stats().Attached {
				return errors.New("no scheduler; what no peer is known to have comes from the origin")
			}
			return nil
		}},
	}
}

// abandon closes what NewNode had opened before it failed.
func (n *Node) abandon() {
	for _, l := range []net.Listener{n.mirrorL, n.httpL, n.localL} {
		if l != nil {
			_ = l.Close()
		}
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if n.net != nil {
		_ = n.net.Run(done, n.peer)
	}
	if n.tracer != nil {
		_ = n.tracer.Run(done)
	}
	if n.store != nil {
		_ = n.store.Close()
	}
}
