package peer

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Config is what a Peer is made of. Store and Network must be set.
type Config struct {
	// Self is how others reach this peer.
	Self    scheduler.Peer
	Store   Store
	Network Network
	// Directory is asked when no scheduler answers; nil is nobody.
	Directory Directory
	// Tickets are for strict clusters. Nil: every peer that can speak to this one may have
	// what it has.
	Tickets Tickets
	// UploadSlots is how many pieces are served at once; 0 means
	// choice.DefaultSlots.
	UploadSlots int
	// Seed makes the choices among equals repeatable; 0 draws one.
	Seed   uint64
	Logger *slog.Logger // nil discards
	// Journal remembers what happens to blobs, for people; nil: nobody does.
	Journal *journal.Journal
}

// Peer is one node's engine. It implements Handler for the transport and
// takes the scheduler's decisions. Methods are safe for concurrent use.
type Peer struct {
	cfg   Config
	log   *slog.Logger
	slots *slots
	pace  pace
	bans  bans
	// acquainted are for when no scheduler introduces anybody.
	acquainted acquaintances
	images     images
	stats      counters
	// fetching counts the pieces under way from neighbours, of all downloads
	// that have readers; fetchingAhead those of the rest (ahead.go, preheat.go).
	fetching, fetchingAhead atomic.Int64
	// patientLeases are the reads from origins of downloads that nobody reads
	// (preheat.go).
	patientLeases atomic.Int64
	// broken is why blobs are not to be begun: the disk has no room for them
	// (ErrNoSpace), or they are false as this node reads them (errFalse).
	broken lately[error]
	// sizes are what origins said against what peers or manifests did: who asks for such
	// a blob without a size begins with that, or the same peer would tell the same false
	// size again.
	sizes      lately[int64]
	unheard    unheard
	ticketless sync.Once // guards a warning
	// arrived is how many bytes have come in, of all blobs, verified or not.
	arrived atomic.Int64

	// begun says that a download has after the peer was idle.
	begun chan struct{}
	// summaries is when the scheduler is to hear of all running downloads. It is
	// Run's.
	summaries choice.Interval
	// summaryEvery is how often the scheduler asked to, a time.Duration; 0: it did not.
	summaryEvery atomic.Int64

	ctx    context.Context // ends with Run; parent of all downloads
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex // guards what follows
	closed    bool
	idle      bool // nothing ran when the last Summary was due
	downloads map[piece.Digest]*download
	sched     Scheduler // nil while no stream is up
	unsaid    []Held    // what is still to be announced to it
}

// New makes a peer. It does nothing until it is asked; Run must be called
// for it to report to the scheduler and to end its downloads.
func New(cfg Config) *Peer {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.UploadSlots <= 0 {
		cfg.UploadSlots = choice.DefaultSlots
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Peer{
		cfg: cfg, log: cfg.Logger,
		slots: newSlots(cfg.UploadSlots),
		ctx:   ctx, cancel: cancel,
		begun: make(chan struct{}, 1), idle: true, summaries: choice.Interval{Least: summaryEvery},
		downloads: make(map[piece.Digest]*download),
	}
}

// Run reports running downloads to the scheduler until ctx ends, then stops
// all downloads (what has arrived stays in the store) and waits for them.
func (p *Peer) Run(ctx context.Context) error {
	due := time.NewTimer(summaryEvery)
	defer due.Stop()
	p.tasks.Go(p.announceImages)
	for {
		select {
		case <-p.begun:
			p.summaries.Begin(time.Now(), rand.Float64())
			due.Reset(firstSummary())
		case <-due.C:
			due.Reset(summaryEvery)
			p.announceMore()
			p.summarise(ctx)
		case <-ctx.Done():
			p.mu.Lock()
			p.closed = true
			p.mu.Unlock()
			p.cancel()
			p.tasks.Wait()
			return nil
		}
	}
}

// running returns the download of a digest, or nil.
func (p *Peer) running(dg piece.Digest) *download {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.downloads[dg]
}

// Arrival is evidence that bytes of a blob are on their way: how many of all
// blobs have ever come in, from anybody and verified or not, and when a
// neighbour was last heard of that has something of this one, or is busy.
func (p *Peer) Arrival(dg piece.Digest) (bytes int64, promised time.Time) {
	if d := p.running(dg); d != nil {
		if at := d.board.promised.Load(); at != 0 {
			promised = time.Unix(0, at)
		}
	}
	return p.arrived.Load(), promised
}

// all returns every running download.
func (p *Peer) all() []*download {
	p.mu.Lock()
	defer p.mu.Unlock()
	ds := make([]*download, 0, len(p.downloads))
	for _, d := range p.downloads {
		ds = append(ds, d)
	}
	return ds
}

// tell sends an event if a scheduler is attached and reports whether one is.
func (p *Peer) tell(e scheduler.Event) bool {
	p.mu.Lock()
	s := p.sched
	p.mu.Unlock()
	if s == nil {
		return false
	}
	s.Send(e)
	return true
}

// Decide takes one decision of the scheduler. It does not block for long.
func (p *Peer) Decide(dec scheduler.Decision) {
	p.unheard.scheduler.Store(false)
	switch dec := dec.(type) {
	case scheduler.Introduce:
		if d := p.running(dec.Digest); d != nil {
			d.post(func() { d.introduced(dec) })
		}
	case scheduler.Part:
		if d := p.running(dec.Digest); d != nil {
			d.post(func() { d.parted(dec) })
		}
	case scheduler.Grant:
		d := p.running(dec.Digest)
		if d == nil || !d.post(func() { d.granted(dec) }) {
			// It ended meanwhile: somebody else must read this.
			p.tell(scheduler.LeaseEnd{Peer: p.cfg.Self.ID, Digest: dec.Digest, Lease: dec.Lease.ID, Outcome: scheduler.Failed})
		}
	case scheduler.Revoke:
		if d := p.running(dec.Digest); d != nil {
			d.post(func() { d.revoked(dec) })
		}
	case scheduler.Wait:
		if d := p.running(dec.Digest); d != nil {
			d.post(func() { d.told(dec, time.Now()) })
		}
	case scheduler.SummaryInterval:
		p.summaryEvery.Store(int64(dec.Every))
	case scheduler.Ticket:
		p.ticketed(dec)
	}
}

// Receive implements Handler.
func (p *Peer) Receive(from scheduler.PeerID, m Message) {
	if p.bans.banned(from, time.Now()) {
		return
	}
	switch m := m.(type) {
	case Offer:
		p.shown(from, m)
		d := p.running(m.Digest)
		if d == nil || !d.post(func() { d.offered(m) }) {
			p.answer(m)
		}
	case Have:
		if d := p.running(m.Digest); d != nil {
			d.post(func() { d.neighbourHas(from, m) })
		}
	case Bye:
		if d := p.running(m.Digest); d != nil {
			d.post(func() { d.leftBy(from) })
		}
	}
}

// answer replies to an offer for a blob that is not being downloaded here.
func (p *Peer) answer(m Offer) {
	if m.Reply {
		return
	}
	err := ErrNotHeld // said to who may not know, too
	var blob Blob
	if p.may(m.From.ID, m.Digest) {
		blob, err = p.cfg.Store.Open(m.Digest)
	}
	if err != nil {
		p.cfg.Network.Send(m.From, Bye{Digest: m.Digest})
		return
	}
	claims := blob.Claims()
	size := blob.Size()
	_ = blob.Close()
	p.cfg.Network.Send(m.From, Offer{
		From: p.cfg.Self, Digest: m.Digest, Size: size,
		Have: piece.FullBitfield(len(claims)), Claims: claims, Reply: true,
	})
}

// Lost implements Handler.
func (p *Peer) Lost(peer scheduler.PeerID, err error) {
	for _, d := range p.all() {
		d.post(func() { d.lost(peer, err) })
	}
}
