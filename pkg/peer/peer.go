package peer

import (
	"context"
	"errors"
	"fmt"
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
	full          full // blobs for which the disk has no room
	unheard       unheard
	ticketless    sync.Once // guards a warning
	// arrived is how many bytes have come in, of all blobs, verified or not.
	arrived atomic.Int64

	// begun says that a download has after the peer was idle.
	begun chan struct{}

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
		begun: make(chan struct{}, 1), idle: true,
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

// Ref names a blob that a client wants.
type Ref struct {
	Digest piece.Digest
	// Size is scheduler.SizeUnknown unless a manifest told it.
	Size int64
	// Source is where to read it at its origin.
	Source Source
}

// errOtherSize is for who says another size than the download that runs goes by.
// A digest has one size, but a manifest may lie: it must spoil no pull but those
// by it. Who of the two is right, the origin alone knows. So the second goes past
// the download, and fails by itself if it is wrong.
var errOtherSize = errors.New("the blob is arriving with another size")

// contradicts is an errOtherSize if a blob cannot have both ref's size and this
// one.
func (ref Ref) contradicts(size int64) error {
	if ref.Size == size || ref.Size == scheduler.SizeUnknown || size == scheduler.SizeUnknown {
		return nil
	}
	return fmt.Errorf("%w: %d bytes, not %d", errOtherSize, size, ref.Size)
}

// Open returns the content of a blob: from the store if it is there whole,
// else from a download that starts now or is running already. It blocks until
// the blob's size is known. The caller must Close the content.
func (p *Peer) Open(ctx context.Context, ref Ref) (*Content, error) {
	return p.open(ctx, ref, nil)
}

// open is Open for a reader of parts, or with nil of all.
func (p *Peer) open(ctx context.Context, ref Ref, parts []Span) (*Content, error) {
	for {
		blob, err := p.cfg.Store.Open(ref.Digest)
		if err == nil {
			p.noteAsked(ref, "it is whole here")
			return p.openWhole(ref.Digest, blob)
		}
		if !errors.Is(err, ErrNotHeld) {
			return nil, fmt.Errorf("open blob %s: %w", ref.Digest.Short(), err)
		}
		if ref.Source != nil && p.full.is(ref.Digest, time.Now()) {
			return p.relay(ctx, ref, ErrNoSpace)
		}
		d, err := p.download(ref, parts != nil)
		if errors.Is(err, errOtherSize) && ref.Source != nil {
			return p.relay(ctx, ref, err)
		}
		if err != nil {
			return nil, fmt.Errorf("open blob %s: %w", ref.Digest.Short(), err)
		}
		if c, ok := d.attach(parts); ok {
			err := c.awaitSize(ctx)
			if err == nil {
				err = ref.contradicts(c.size)
			}
			if err == nil {
				return c, nil
			}
			_ = c.Close()
			if (notKept(err) || errors.Is(err, errOtherSize)) && ref.Source != nil {
				return p.relay(ctx, ref, err)
			}
			return nil, fmt.Errorf("open blob %s: %w", ref.Digest.Short(), err)
		}
		select { // it is ending: look again afterwards
		case <-d.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// download returns the running download of ref's digest, or starts it; a
// partial one if nobody needs more so far. It fails with errOtherSize if the one
// that runs goes by another size.
func (p *Peer) download(ref Ref, inPart bool) (*download, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if d := p.downloads[ref.Digest]; d != nil {
		if err := ref.contradicts(d.board.size(d.ref.Size)); err != nil {
			return nil, err
		}
		if s, ok := d.ref.Source.(*sources); ok && ref.Source != nil {
			s.add(ref.Source)
		}
		p.noteAsked(ref, "it is arriving")
		return d, nil
	}
	d := newDownload(p, ref)
	d.partial.on = inPart
	p.noteAsked(ref, "it is not here: a download begins")
	p.start(d)
	return d, nil
}

// start runs a download, the only one of its digest. mu is held.
func (p *Peer) start(d *download) {
	p.downloads[d.ref.Digest] = d
	p.noteBegun()
	p.tasks.Go(func() {
		d.run()
		p.mu.Lock()
		delete(p.downloads, d.ref.Digest)
		p.mu.Unlock()
		close(d.done)
	})
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
