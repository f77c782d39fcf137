package peer

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// A piece has a deadline of deadlineFactor × the median time of its
	// like, at least minDeadline; past hedgeFactor × the median a second
	// neighbour is asked as well. Until a median is known a piece may show
	// no byte for firstByteWait.
	deadlineFactor = 4
	hedgeFactor    = 3
	minDeadline    = 300 * time.Millisecond
	firstByteWait  = 1500 * time.Millisecond
	// queueWait is how long a piece may show no byte in any case: the neighbour
	// may have it wait for a slot for half of that, and then says so.
	queueWait = 2 * choice.SlotWait
)

// fetch is one piece on its way from one neighbour.
type fetch struct {
	piece   int
	from    *neighbour
	want    piece.Digest
	hedge   bool
	cancel  context.CancelFunc
	started time.Time
	lead    time.Duration // until the first byte was here; the loop's once fetched has it
	era     int           // of the download's trust
	late    bool          // missed its deadline, was stopped for it
	stopped bool          // the loop ended it, the neighbour is not to blame

	bytes atomic.Int64  // arrived so far
	count *atomic.Int64 // the peer's, which this one is counted by
	seen  int64         // of these, noticed by the loop
	moved time.Time     // when that last grew
}

// noticed returns how many bytes arrived since the last look.
func (f *fetch) noticed(now time.Time) int64 {
	n := f.bytes.Load() - f.seen
	if n > 0 {
		f.seen, f.moved = f.seen+n, now
	}
	return n
}

// stop ends the fetch through no fault of the neighbour.
func (f *fetch) stop() {
	f.stopped = true
	f.cancel()
}

// startFetches asks neighbours for pieces while there are both. Each round
// gives every neighbour at most one more, so that requests spread.
func (d *download) startFetches(now time.Time) {
	if d.picker.Need.Count() == 0 {
		return
	}
	usual, _ := d.p.pace.expect(d.layout.PieceSize())
	limit := choice.Depth(usual)
	front := d.front()
	for depth := 1; depth <= limit; depth++ {
		for _, n := range d.shuffled() {
			if !d.mayFetch() {
				return
			}
			if !n.open || n.outstanding >= depth || now.Before(n.coolUntil) || !d.trusts(n) {
				continue
			}
			i, ok := d.urgent(&n.has)
			if !ok {
				i, ok = d.pick(n, front, usual, now)
			}
			if ok {
				d.startFetch(i, n, false, now)
			}
		}
	}
}

// pick chooses a piece to ask of n. usual is how long one takes.
func (d *download) pick(n *neighbour, front int, usual time.Duration, now time.Time) (int, bool) {
	if d.far(n) {
		return d.picker.PickFar(&n.has, front, now, choice.CrossTurn(usual))
	}
	return d.picker.Pick(&n.has, front)
}

// mayFetch reports whether one more piece may be asked for now.
func (d *download) mayFetch() bool {
	if d.ahead.on.Load() {
		return d.mayFetchAhead()
	}
	if d.givesWay() {
		return false // the next tick looks again
	}
	return choice.MayFetch(len(d.fetches), int(d.p.fetching.Load()), d.p.pace.early(d.layout.PieceSize()))
}

// front is the first piece that the slowest reader still waits for.
func (d *download) front() int {
	off, _ := d.board.slowest()
	if off >= d.layout.Size() {
		return 0
	}
	return d.layout.Index(off)
}

// shuffled returns the neighbours in random order.
func (d *download) shuffled() []*neighbour {
	ns := make([]*neighbour, 0, len(d.neighbours))
	for _, n := range d.neighbours {
		ns = append(ns, n)
	}
	d.rng.Shuffle(len(ns), func(i, j int) { ns[i], ns[j] = ns[j], ns[i] })
	return ns
}

// startFetch asks n for piece i.
func (d *download) startFetch(i int, n *neighbour, hedge bool, now time.Time) {
	if !hedge {
		d.clearPiece(i)
	}
	ctx, cancel := context.WithCancel(d.ctx)
	f := &fetch{
		piece: i, from: n, want: n.claims[i], hedge: hedge, era: d.trust.era,
		cancel: cancel, started: now, moved: now, count: &d.p.fetching,
	}
	if d.ahead.on.Load() || d.board.patient.Load() {
		f.count = &d.p.fetchingAhead
	}
	d.fetches[i] = append(d.fetches[i], f)
	d.picker.Need.Clear(i)
	n.outstanding++
	f.count.Add(1)
	off, length := d.layout.Bounds(i)
	from := n.peer
	d.spawn(func() {
		err := d.transfer(ctx, f, from, off, length)
		f.count.Add(-1)
		d.post(func() { d.fetched(f, err) })
	})
}

// transfer moves one piece into the store. It runs beside the loop.
func (d *download) transfer(ctx context.Context, f *fetch, from scheduler.Peer, off, length int64) error {
	defer f.cancel()
	body, err := d.p.cfg.Network.Fetch(ctx, from, d.ref.Digest, off, length)
	if err != nil {
		return err
	}
	defer body.Close()
	f.lead = time.Since(f.started)
	if f.hedge { // it does deliver: the slow one makes way for it
		d.post(func() { d.yield(f) })
	}
	_, err = d.ingest.Receive(ctx, f.piece, d.counting(body, &f.bytes), f.want)
	return err
}

// yield cancels the other fetches of hedge's piece.
func (d *download) yield(hedge *fetch) {
	for _, f := range d.fetches[hedge.piece] {
		if f != hedge {
			f.stop()
		}
	}
}

// fetched takes the end of a fetch.
func (d *download) fetched(f *fetch, err error) {
	now := time.Now()
	n := f.from
	n.outstanding--
	d.dropFetch(f)
	if f.era != d.trust.era {
		d.miss(f.piece)
		return
	}
	if err == nil {
		d.fetchedWell(f, now)
		return
	}
	d.miss(f.piece)
	var mismatch *piece.MismatchError
	switch {
	case errors.As(err, &mismatch) && n.open && n.claims[f.piece] != f.want: // it has told meanwhile that it had it false
	case errors.As(err, &mismatch):
		d.p.stats.falsePieces.Add(1)
		d.log.Warn("neighbour sent false bytes; it is shunned", "peer", n.peer.ID, "piece", f.piece)
		d.note(journal.False, "%s sent false bytes for piece %d and is shunned", n.peer.ID, f.piece)
		d.p.bans.add(n.peer.ID, now)
		d.blame(n.peer.ID, scheduler.False)
		d.part(n.peer.ID)
	case errors.Is(err, ErrBusy):
		d.p.stats.busy.Add(1)
		d.heardOf = now
		d.board.promised.Store(now.UnixNano())
		n.coolUntil = now.Add(choice.BusyWait + time.Duration(d.rng.Int64N(int64(choice.BusyWait))))
	case errors.Is(err, ErrNotHeld):
		if n.has.Clear(f.piece) {
			d.picker.Lose(f.piece, d.far(n))
		}
	case notKept(err):
		d.fail(err)
	case f.late:
		d.p.stats.deadlines.Add(1)
		n.coolUntil = now.Add(minDeadline)
		d.strike(n, scheduler.Slow)
	case f.stopped || d.ctx.Err() != nil:
	default:
		d.log.Debug("fetch failed", "peer", n.peer.ID, "piece", f.piece, "err", err)
		n.coolUntil = now.Add(minDeadline)
		d.strike(n, scheduler.Unreachable)
	}
}

// fetchedWell takes a piece that has arrived and is verified.
func (d *download) fetchedWell(f *fetch, now time.Time) {
	_, length := d.layout.Bounds(f.piece)
	f.from.strikes = 0
	if !d.got(f.piece, d.ingest.Claim(f.piece), &d.board.fromPeers, now) {
		return // the other of two was first
	}
	f.from.delivered += f.noticed(now)
	d.p.pace.observeNeighbour(length, f.lead, now.Sub(f.started))
	if d.far(f.from) {
		d.p.stats.receivedFar.Add(length)
	} else {
		d.p.stats.receivedNear.Add(length)
	}
	if d.ahead.on.Load() {
		d.p.stats.aheadBytes.Add(length)
	}
	d.p.stats.piecesPeer.Add(1)
	d.suppliers[f.piece] = f.from.peer.ID
	for _, other := range d.fetches[f.piece] {
		other.stop()
	}
}

func (d *download) dropFetch(f *fetch) {
	fs := d.fetches[f.piece]
	for i, x := range fs {
		if x == f {
			fs = append(fs[:i:i], fs[i+1:]...)
		}
	}
	if len(fs) == 0 {
		delete(d.fetches, f.piece)
	} else {
		d.fetches[f.piece] = fs
	}
}

// tickFetches enforces deadlines and hedges what is late. A transfer that
// shows no byte is given up. One that is merely slow is asked of a second
// neighbour only when somebody waits for it: at the end, or for a reader.
// Earlier there is other work, and what has arrived of it would be lost.
func (d *download) tickFetches(now time.Time) {
	front, endgame := d.front(), d.picker == nil || d.picker.Need.Count() == 0
	for i, fs := range d.fetches {
		f := fs[0]
		_, length := d.layout.Bounds(i)
		usual, known := d.p.pace.expect(length)
		patience := firstByteWait
		if known {
			patience = min(patience, max(minDeadline, deadlineFactor*usual))
		}
		if f.seen == 0 {
			patience = max(patience, queueWait)
		}
		age, still := now.Sub(f.started), now.Sub(f.moved)
		switch {
		case f.late || f.stopped:
		case still > patience:
			f.late = true
			f.cancel()
		case known && len(fs) == 1 && (endgame || i == front) && age > max(minDeadline, hedgeFactor*usual):
			d.hedgeFetch(i, f, now)
		}
	}
}

// hedgeFetch asks a second neighbour for a piece that is late.
func (d *download) hedgeFetch(i int, slow *fetch, now time.Time) {
	if d.ahead.on.Load() { // nobody waits
		return
	}
	var best *neighbour
	for _, n := range d.neighbours {
		if n == slow.from || !n.open || !n.has.Has(i) || now.Before(n.coolUntil) || !d.trusts(n) {
			continue
		}
		if best == nil || n.outstanding < best.outstanding {
			best = n
		}
	}
	if best == nil || best.outstanding >= choice.PerNeighbour {
		return
	}
	d.p.stats.hedges.Add(1)
	d.startFetch(i, best, true, now)
}

// counting counts what comes in of one transfer, and of all.
func (d *download) counting(r io.Reader, n *atomic.Int64) io.Reader {
	return &countingReader{r, n, &d.p.arrived}
}

type countingReader struct {
	r      io.Reader
	n, all *atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	c.all.Add(int64(n))
	return n, err
}
