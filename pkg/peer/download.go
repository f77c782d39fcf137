package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// tickEvery is how often a running download looks at its deadlines.
	tickEvery = 50 * time.Millisecond
	// inboxLen is how many happenings may wait for the loop, which never
	// blocks; past it the sender waits.
	inboxLen = 256
	// linger is how long a download goes on when nobody reads it: a client
	// that lost its connection comes back within seconds.
	linger = 30 * time.Second
)

// download is the life of one blob's arrival. One goroutine, run, owns
// everything in it but board; others reach it by post.
//
// The idea of each file: download.go the loop and the start; neighbour.go the
// edges of the swarm, have.go what is told over them, acquaint.go and discover.go
// those without a scheduler; fetch.go pieces from neighbours; lease.go pieces from
// the origin; stall.go what happens when nobody sends any; partial.go what is
// different while only parts are wanted, ahead.go while nobody has asked yet;
// finish.go the end, and trust.go what happens when the pieces do not add up.
type download struct {
	p     *Peer
	ref   Ref
	log   *slog.Logger
	board *board

	inbox    chan func()
	opening  chan opening       // holds one: the ingest, once it is open
	stopping chan struct{}      // closed when the loop takes no more posts
	done     chan struct{}      // closed when nothing of it runs any more
	ctx      context.Context    // parent of everything that blocks
	cancel   context.CancelFunc //
	tasks    sync.WaitGroup     // goroutines that post their result
	ended    bool

	started time.Time
	rng     *rand.Rand
	layout  piece.Layout
	sizing  bool   // a size is known, the ingest is being opened
	ingest  Ingest // nil until then
	have    piece.Bitfield
	resumed piece.Bitfield // what was on disk when it began
	picker  *choice.Picker
	share   choice.Share // what falls to this peer of what its zone lacks
	// suppliers are the neighbours that gave the pieces; absent for those
	// from the origin or the disk.
	suppliers map[int]scheduler.PeerID
	fetches   map[int][]*fetch // running, by piece; the second is a hedge
	leases    map[*leaseRun]struct{}
	held      []scheduler.Grant // leases granted before the ingest was open

	neighbours map[scheduler.PeerID]*neighbour
	fresh      []Claim     // verified since the last HAVE
	lastHave   time.Time   // when that was sent
	flush      *time.Timer // when the next may be sent

	committing bool

	schedulerUp bool
	moving      bool      // the next join is to a scheduler that has not heard of it yet
	joined      time.Time // when the scheduler was last told of the download
	awaited     time.Time // since when the answer to the first Join is awaited; zero: it is here
	saidPatient bool      // it was told that nobody waits
	moved       time.Time // when a byte last arrived from anywhere
	heardOf     time.Time // when a neighbour last said that it has pieces, or is busy
	asked       time.Time // when the scheduler was last told of a stall
	unanswered  time.Time // since when it has not answered that; zero: it has
	waitUntil   time.Time // it has asked to leave the origin alone until then
	stalledAt   time.Time // without a scheduler: when nobody sent anything
	patience    time.Duration
	originErr   error // the last failure of the origin
	originFails int   // in a row
	retryOrigin time.Time
	noRange     bool
	idleSince   time.Time // since when nobody reads

	trust   trust
	search  search
	partial partial
	ahead   ahead
	self    uint64 // this peer's order in turns
}

func newDownload(p *Peer, ref Ref) *download {
	if ref.Source != nil {
		ref.Source = shared(ref.Source)
	}
	ctx, cancel := context.WithCancel(p.ctx)
	now := time.Now()
	seed := p.cfg.Seed
	for _, b := range ref.Digest[:8] {
		seed = seed<<8 ^ seed>>56 ^ uint64(b)
	}
	return &download{
		p: p, ref: ref, board: newBoard(),
		log:   p.log.With("blob", ref.Digest.Short()),
		inbox: make(chan func(), inboxLen), opening: make(chan opening, 1), stopping: make(chan struct{}),
		done: make(chan struct{}), ctx: ctx, cancel: cancel,
		started: now, moved: now, idleSince: now,
		rng:        rand.New(rand.NewPCG(p.cfg.Seed, seed)),
		fetches:    make(map[int][]*fetch),
		leases:     make(map[*leaseRun]struct{}),
		suppliers:  make(map[int]scheduler.PeerID),
		neighbours: make(map[scheduler.PeerID]*neighbour),
		self:       peerOrder(p.cfg.Self.ID),
	}
}

// post hands f to the loop. False: the download has ended, f will not run.
func (d *download) post(f func()) bool {
	select {
	case <-d.stopping:
		return false
	default:
	}
	select {
	case d.inbox <- f:
		return true
	case <-d.stopping:
		return false
	}
}

// spawn runs f beside the loop; the end of the download waits for it.
func (d *download) spawn(f func()) { d.tasks.Go(f) }

// run is the loop. It returns when the blob is whole in the store, or the
// download has failed, and nothing of it runs any more.
func (d *download) run() {
	defer d.shutdown()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	d.flush = time.NewTimer(time.Hour)
	defer d.flush.Stop()
	d.partial.turn = time.NewTimer(time.Hour)
	defer d.partial.turn.Stop()
	d.begin()
	for !d.ended {
		select {
		case f := <-d.inbox:
			f()
			d.drain()
		case o := <-d.opening:
			d.opened(o)
		case <-tick.C:
			d.tick(time.Now())
		case <-d.flush.C:
		case <-d.partial.turn.C:
		case <-d.ctx.Done():
			d.fail(ErrClosed)
		}
		if !d.ended {
			d.advance(time.Now())
		}
	}
}

// drain takes what else is waiting, so that advance looks at all of it once.
func (d *download) drain() {
	for range inboxLen {
		select {
		case f := <-d.inbox:
			f()
		default:
			return
		}
	}
}

func (d *download) begin() {
	d.p.mu.Lock()
	d.schedulerUp = d.p.sched != nil
	d.p.mu.Unlock()
	d.drawPatience()
	if d.ref.Size != scheduler.SizeUnknown {
		d.sized(d.ref.Size)
		return
	}
	d.join()
	if d.partial.on {
		d.askSize(time.Now())
	}
}

// sized learns the blob's size and opens the ingest. Learning it twice is
// fine; a second, different size is ignored: the first one is proven or
// fails with the blob.
func (d *download) sized(size int64) {
	if d.sizing || d.ingest != nil {
		return
	}
	layout, err := piece.NewLayout(size)
	if err != nil {
		d.fail(fmt.Errorf("size of blob: %w", err))
		return
	}
	d.sizing = true
	d.spawn(func() {
		ingest, err := d.p.cfg.Store.Ingest(d.ctx, d.ref.Digest, layout)
		d.opening <- opening{layout, ingest, err}
	})
}

// opening is an ingest on its way to the loop.
type opening struct {
	layout piece.Layout
	ingest Ingest
	err    error
}

// opened begins the real work: the store has room and says what it has.
func (d *download) opened(o opening) {
	if o.err != nil {
		d.fail(fmt.Errorf("store blob: %w", o.err))
		return
	}
	layout, ingest := o.layout, o.ingest
	d.layout, d.ingest, d.have = layout, ingest, ingest.Have()
	d.resumed = d.have.Clone()
	d.picker = choice.NewPicker(d.rng, layout.Count())
	d.picker.Share = d.share
	for i := range d.have.All() {
		d.picker.Need.Clear(i)
		_, n := layout.Bounds(i)
		d.p.stats.resumed.Add(n)
	}
	d.board.update(func() {
		d.board.layout, d.board.ingest, d.board.have = layout, ingest, d.have.Clone()
	})
	d.heed(time.Now())
	d.join()
	for _, n := range d.neighbours {
		d.admit(n)
		d.offer(n, false)
	}
	held := d.held
	d.held = nil
	for _, g := range held {
		d.granted(g)
	}
}

// tick looks at everything that time alone changes.
func (d *download) tick(now time.Time) {
	d.noticeProgress(now)
	d.tickFetches(now)
	d.tickLeases(now)
	d.tickNeighbours(now)
	d.tellLater(now)
	d.tickStall(now)
	d.tellNews()
	if _, readers := d.board.slowest(); readers > 0 || d.expected() {
		d.idleSince = now
	} else if now.Sub(d.idleSince) > d.linger() {
		d.abandon()
	}
}

// noticeProgress keeps moved up to date with bytes of pieces under way.
func (d *download) noticeProgress(now time.Time) {
	for l := range d.leases {
		if l.noticed(now) {
			d.moved = now
		}
	}
	for _, fs := range d.fetches {
		for _, f := range fs {
			if n := f.noticed(now); n > 0 {
				d.moved = now
				f.from.delivered += n
			}
		}
	}
}

// advance starts whatever can be started now.
func (d *download) advance(now time.Time) {
	if d.partial.stale {
		d.heed(now)
	}
	if d.ingest == nil {
		return
	}
	d.startFetches(now)
	d.takeTurns(now)
	d.flushHave(now)
	if d.have.Full() {
		d.commit()
	}
}

// got marks a verified piece and tells everybody who waits for it. from counts
// the bytes of whoever gave it. A piece that the store has not, or has otherwise,
// by now was forgotten meanwhile.
func (d *download) got(i int, claim piece.Digest, from *int64, now time.Time) bool {
	if claim == (piece.Digest{}) || d.ingest.Claim(i) != claim {
		d.miss(i)
		return false
	}
	if !d.have.Set(i) {
		return false
	}
	_, length := d.layout.Bounds(i)
	d.picker.Need.Clear(i)
	delete(d.partial.since, i)
	d.partial.news = true
	d.moved = now
	d.fresh = append(d.fresh, Claim{Index: i, Digest: claim})
	d.board.update(func() { d.board.have.Set(i); *from += length })
	return true
}

// shutdown ends all that the loop started and waits for it.
func (d *download) shutdown() {
	close(d.stopping)
	d.cancel()
	d.tasks.Wait()
	d.drain() // offers that came at the last moment are still answered
	select {
	case o := <-d.opening: // came too late for the loop
		d.ingest = o.ingest
	default:
	}
	if d.ingest != nil {
		if err := d.ingest.Close(); err != nil && !errors.Is(err, context.Canceled) {
			d.log.Warn("close ingest", "err", err)
		}
	}
}
