package peertest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Config describes a cluster.
type Config struct {
	Nodes int
	// Up and Down are the rates of every node's link in bytes a second;
	// 0 is no limit.
	Up, Down float64
	// Latency is one way, between any two, the scheduler included.
	Latency time.Duration
	// Loss is the probability that a message costs its whole link, and
	// that a fetch fails.
	Loss float64
	Seed uint64
	// Zones is how many zones the nodes are dealt to; 0: nobody knows of any.
	Zones int
	// OriginNearer is the scheduler's; see there.
	OriginNearer bool
	// NoScheduler leaves the peers to themselves.
	NoScheduler bool
	// Directory is where they find each other then; nil is nowhere.
	Directory *Directory
	// Key is that of a strict cluster, whose scheduler gives tickets; nil: the cluster
	// is not strict.
	Key *member.Key
	// NewStore makes each node's store.
	NewStore func() peer.Store
	Logger   *slog.Logger
	// Journal is that of the first node; nil: it has none.
	Journal *journal.Journal
	// Sent sees each message that a peer sends to another; nil: nobody does.
	Sent func(peer.Message)
}

// zone is that of node i.
func (c *Config) zone(i int) string {
	if c.Zones == 0 {
		return ""
	}
	return fmt.Sprintf("z%d", i%c.Zones)
}

// Cluster is many peers, one scheduler and one origin.
type Cluster struct {
	Origin *Origin
	Nodes  []*Node

	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	rngMu  sync.Mutex
	rng    *rand.Rand
	shell  *shell
}

// Node is one peer of a cluster.
type Node struct {
	ID    scheduler.PeerID
	Peer  *peer.Peer
	Store peer.Store
	// Corrupt makes the node send false bytes; set it before traffic.
	Corrupt bool

	c        *Cluster
	tickets  *member.Tickets // nil unless the cluster is strict
	self     scheduler.Peer
	up, down *wire
	stop     context.CancelFunc

	mu   sync.Mutex // guards dead
	dead bool
}

// New makes a cluster and starts its peers. Close must be called.
func New(cfg Config) *Cluster {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cluster{Origin: &Origin{}, cfg: cfg, ctx: ctx, cancel: cancel, rng: newRand(cfg.Seed)}
	if !cfg.NoScheduler {
		c.StartScheduler()
	}
	for i := range cfg.Nodes {
		c.start(i)
	}
	return c
}

func (c *Cluster) start(i int) {
	id := scheduler.PeerID(fmt.Sprintf("n%02d", i))
	n := &Node{
		ID: id, Store: c.cfg.NewStore(), c: c,
		self: scheduler.Peer{ID: id, Addrs: []string{"mem/" + string(id)}, Bulk: string(id), Zone: c.cfg.zone(i)},
		up:   &wire{rate: c.cfg.Up}, down: &wire{rate: c.cfg.Down},
	}
	var directory peer.Directory
	if c.cfg.Directory != nil {
		directory = &Desk{d: c.cfg.Directory, self: n.self, down: n.Down}
	}
	var remembers *journal.Journal
	if i == 0 {
		remembers = c.cfg.Journal
	}
	var tickets peer.Tickets
	if c.cfg.Key != nil {
		n.tickets = member.NewTickets(c.cfg.Key.Public(), string(id))
		tickets = n.tickets
	}
	n.Peer = peer.New(peer.Config{
		Directory: directory, Tickets: tickets, Self: n.self, Store: n.Store, Seed: c.cfg.Seed + uint64(i) + 1,
		Network: &port{c: c, node: n, lines: make(map[scheduler.PeerID]*line[peer.Message])},
		Logger:  c.cfg.Logger.With("node", id), Journal: remembers,
	})
	ctx, stop := context.WithCancel(c.ctx)
	n.stop = stop
	c.Nodes = append(c.Nodes, n)
	c.wg.Go(func() { _ = n.Peer.Run(ctx) })
	if c.shell != nil {
		c.shell.attach(n)
	}
}

// SetRate changes a node's link.
func (n *Node) SetRate(up, down float64) {
	for _, x := range []struct {
		w    *wire
		rate float64
	}{{n.up, up}, {n.down, down}} {
		x.w.mu.Lock()
		x.w.rate = x.rate
		x.w.mu.Unlock()
	}
}

// Kill takes a node off the network at once, as a power cut would.
func (n *Node) Kill() {
	n.mu.Lock()
	n.dead = true
	n.mu.Unlock()
	if s := n.c.shell; s != nil {
		s.send(scheduler.PeerDown{Peer: n.ID})
	}
	n.stop()
}

// Down reports whether the node was killed.
func (n *Node) Down() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

// Close ends everything and waits for it.
func (c *Cluster) Close() {
	c.cancel()
	c.wg.Wait()
}

func (c *Cluster) node(id scheduler.PeerID) *Node {
	for _, n := range c.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// Ref names a blob of the origin for this node. A negative size is unknown.
func (n *Node) Ref(d piece.Digest, size int64) peer.Ref {
	return peer.Ref{Digest: d, Size: size, Source: &source{o: n.c.Origin, node: n, d: d}}
}

// Pull reads a whole blob through the node as a client would and returns the
// digest of what arrived.
func (n *Node) Pull(ctx context.Context, ref peer.Ref) (piece.Digest, error) {
	c, err := n.Peer.Open(ctx, ref)
	if err != nil {
		return piece.Digest{}, err
	}
	defer c.Close()
	h := sha256.New()
	m, err := c.WriteRange(ctx, h, 0, c.Size())
	if err != nil {
		return piece.Digest{}, err
	}
	if m != c.Size() {
		return piece.Digest{}, fmt.Errorf("pulled %d of %d bytes: %w", m, c.Size(), io.ErrUnexpectedEOF)
	}
	return piece.Digest(h.Sum(nil)), nil
}

// shell drives the scheduler's brain, as internal/rpc does over gRPC.
type shell struct {
	c      *Cluster
	cancel context.CancelFunc
	events chan scheduler.Event

	mu       sync.Mutex // guards what follows
	peers    map[scheduler.PeerID]*line[scheduler.Decision]
	expelled []scheduler.PeerID
}

// StartScheduler starts a scheduler, and attaches all nodes to it.
func (c *Cluster) StartScheduler() {
	ctx, cancel := context.WithCancel(c.ctx)
	s := &shell{
		c: c, cancel: cancel, events: make(chan scheduler.Event, 1<<16),
		peers: make(map[scheduler.PeerID]*line[scheduler.Decision]),
	}
	c.shell = s
	core := scheduler.New(scheduler.Config{Seed: c.cfg.Seed, Tickets: c.cfg.Key != nil, OriginNearer: c.cfg.OriginNearer})
	c.wg.Go(func() {
		tick := time.NewTicker(scheduler.TickEvery)
		defer tick.Stop()
		for {
			select {
			case e := <-s.events:
				s.route(core.Step(time.Now(), e))
			case <-tick.C:
				s.route(core.Step(time.Now(), scheduler.Tick{}))
			case <-ctx.Done():
				return
			}
		}
	})
	for _, n := range c.Nodes {
		if !n.Down() {
			s.attach(n)
		}
	}
}

// Expelled are the peers that the scheduler has put out for false bytes, in that
// order.
func (c *Cluster) Expelled() []scheduler.PeerID {
	c.shell.mu.Lock()
	defer c.shell.mu.Unlock()
	return slices.Clone(c.shell.expelled)
}

// StartSilence attaches all nodes to a scheduler that never answers.
func (c *Cluster) StartSilence() {
	for _, n := range c.Nodes {
		n.Peer.Attached(silence{})
	}
}

// silence is a stream to a scheduler that does not answer.
type silence struct{}

// Send implements peer.Scheduler.
func (silence) Send(scheduler.Event) {}

// StopScheduler kills the scheduler.
func (c *Cluster) StopScheduler() {
	c.shell.cancel()
	c.shell = nil
	for _, n := range c.Nodes {
		n.Peer.Detached()
	}
}

func (s *shell) attach(n *Node) {
	l := newLine(s.c.ctx, &s.c.wg, s.c.cfg.Latency, n.Peer.Decide)
	s.mu.Lock()
	s.peers[n.ID] = l
	s.mu.Unlock()
	up := &uplink{newLine(s.c.ctx, &s.c.wg, s.c.cfg.Latency, s.send)}
	up.Send(scheduler.PeerUp{Peer: n.self})
	n.Peer.Attached(up)
}

func (s *shell) send(e scheduler.Event) {
	select {
	case s.events <- e:
	case <-s.c.ctx.Done():
	}
}

func (s *shell) route(ds []scheduler.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range ds {
		switch x := d.(type) {
		case scheduler.Ticket:
			d = s.sign(x)
		case scheduler.Expel:
			s.expelled = append(s.expelled, x.Peer)
		}
		if l := s.peers[d.Recipient()]; l != nil {
			l.send(d)
		}
	}
}

// sign is what internal/rpc does with a ticket.
func (s *shell) sign(t scheduler.Ticket) scheduler.Ticket {
	signed, err := s.c.cfg.Key.SignTicket(member.Ticket{Peer: string(t.To), Digest: t.Digest, Expires: time.Now().Add(member.TicketLife)})
	if err != nil {
		panic(err) // for names that no node here has
	}
	t.Signed = signed
	return t
}

// uplink is a peer's stream to the scheduler.
type uplink struct{ l *line[scheduler.Event] }

// Send implements peer.Scheduler.
func (u *uplink) Send(e scheduler.Event) { u.l.send(e) }
