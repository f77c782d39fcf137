package peer

import (
	"hash/fnv"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A partial download fetches only the pieces that readers of parts wait for.
// It is in the swarm like any other, takes pieces from neighbours and offers
// its own, but names no origin to the scheduler: leases are for whoever wants
// the whole, and go through the blob from the front. What no neighbour has it
// reads from the origin itself, in turn: who waits for the same piece would
// else read it at the same moment. Of n neighbours that want a piece, the one
// whose turn is first reads it at once, and only those read it too whose turn
// comes before they hear that it is there: about 1 + (time of a piece)/turn
// copies in a swarm where everybody knows everybody. In a larger one there may
// be one more for each neighbourhood.
//
// The first reader that needs everything makes it an ordinary download.

const (
	// meetWait is how long a partial download waits to be introduced before it
	// reads from the origin, and answerWait how long for a new neighbour to
	// say what it has. Both take a round trip or two, and the scheduler may be
	// in another region. Who has no scheduler or no neighbours waits for
	// neither.
	meetWait   = 100 * time.Millisecond
	answerWait = 100 * time.Millisecond
	// A turn is how long a piece usually takes, within these bounds, and
	// usualTurn while that is not known. With longer turns a neighbour that
	// does not want the piece, but whose turn is earlier, costs more time;
	// with shorter ones the piece is read more often.
	minTurn   = 50 * time.Millisecond
	usualTurn = 100 * time.Millisecond
	maxTurn   = 250 * time.Millisecond
	// maxTurns bounds the wait for a turn: clients of the mirror go to the
	// origin after 2 s.
	maxTurns = time.Second
	// leaseWait comes before the turns of a piece of an ordinary download, for
	// readers of parts that have joined it: mostly a lease brings it.
	leaseWait = 500 * time.Millisecond
	// rangeRun is up to where several pieces are one request: a request of its
	// own for each would cost more than it gains.
	rangeRun = 4 << 20
	// rangeLinger is linger for partial downloads: who mounts a layer reads it
	// in bursts, and what is on disk is hashed again with each resume. No
	// longer, because the store keeps room for the whole blob meanwhile.
	rangeLinger = 2 * time.Minute
)

// partial is what a download knows of its readers of parts, who may have joined
// an ordinary one, too: there their pieces come before others.
type partial struct {
	// on says that it is one: nobody has needed the whole blob so far.
	on     bool
	wanted piece.Bitfield    // what readers of parts need
	since  map[int]time.Time // of wanted, what is missing, since when
	turn   *time.Timer       // when the next piece may be read from the origin

	met     bool // the scheduler has answered the join
	sizeAsk bool // the origin is being asked for the size
	stale   bool // readers came or went
	news    bool // pieces came that the scheduler has not heard of
}

// readersChanged notes that readers came or went.
func (d *download) readersChanged() { d.partial.stale = true }

// heed looks what the readers want now. Pieces that nobody wants any more are
// not asked for; what is under way of them is finished, so that it is not lost.
func (d *download) heed(now time.Time) {
	d.partial.stale = false
	wanted, all := d.board.wants()
	if _, readers := d.board.slowest(); readers > 0 && d.ahead.on.Load() {
		d.takeOver(all, now)
	}
	if d.partial.on && all {
		d.upgrade(now)
	}
	d.sayPatience()
	if d.ingest == nil {
		return
	}
	d.partial.wanted = wanted
	if d.partial.on {
		d.picker.Need = piece.NewBitfield(d.layout.Count())
	}
	since := make(map[int]time.Time)
	for i := range wanted.All() {
		if d.have.Has(i) {
			continue
		}
		at, known := d.partial.since[i]
		if !known {
			at = now
		}
		if !known && d.partial.on {
			d.moved = now // until now there was nothing to wait for
		}
		since[i] = at
		d.miss(i)
	}
	d.partial.since = since
	if !d.partial.on {
		return
	}
	for l := range d.leases {
		l.enough.Store(!d.wantsAny(l.pieces))
	}
}

// wantsAny reports whether readers wait for any piece of a run.
func (d *download) wantsAny(run piece.Range) bool {
	for i := run.First; i < run.End; i++ {
		if _, ok := d.partial.since[i]; ok && !d.have.Has(i) {
			return true
		}
	}
	return false
}

// miss puts piece i on the picker's list, unless it is here, on its way, or
// nobody wants it.
func (d *download) miss(i int) {
	if d.have.Has(i) || len(d.fetches[i]) > 0 || d.leased(i) || d.partial.on && !d.partial.wanted.Has(i) {
		return
	}
	d.picker.Need.Set(i)
}

// upgrade makes a partial download an ordinary one, with a right to leases.
// What is here and under way stays.
func (d *download) upgrade(now time.Time) {
	d.log.Debug("a reader needs the whole blob now")
	d.partial.on, d.moved = false, now
	for l := range d.leases {
		l.enough.Store(false)
	}
	if d.ingest != nil {
		for i := range d.layout.Count() {
			d.miss(i)
		}
	}
	if !d.sizing || d.ingest != nil { // else opened joins
		d.join()
	}
}

// askSize asks the origin for the blob's size, unless the swarm tells it. A
// whole download learns it with its first lease.
func (d *download) askSize(now time.Time) {
	if d.partial.sizeAsk || d.ref.Source == nil || d.sizing || now.Before(d.retryOrigin) {
		return
	}
	d.partial.sizeAsk = true
	d.spawn(func() {
		size, err := d.ref.Source.Stat(d.ctx)
		d.post(func() {
			d.partial.sizeAsk = false
			switch {
			case d.sizing || !d.partial.on:
			case err != nil:
				_ = d.originFailed(err, time.Now())
				d.despair()
			case size == scheduler.SizeUnknown: // it comes with the whole
				d.upgrade(time.Now())
			default:
				d.sized(size)
			}
		})
	})
}

// takeTurns reads from the origin what readers of parts wait for and no
// neighbour has, if it is this peer's turn to read it. In an ordinary download
// that is beside what it reads anyway.
func (d *download) takeTurns(now time.Time) {
	if len(d.partial.since) == 0 || d.committing || d.ref.Source == nil || d.noRange || now.Before(d.retryOrigin) {
		return // the next tick looks again
	}
	most := selfReads
	if !d.partial.on {
		most += selfReads
	}
	for len(d.leases) < most {
		first, at := -1, time.Time{}
		for i := range d.partial.since {
			if !d.picker.Need.Has(i) || d.picker.Rarity[i] > 0 {
				continue
			}
			if t := d.turnOf(i); first < 0 || t.Before(at) || t.Equal(at) && i < first {
				first, at = i, t
			}
		}
		if first < 0 {
			return
		}
		if wait := at.Sub(now); wait > 0 {
			d.partial.turn.Reset(wait)
			return
		}
		d.startLease(0, d.runOfTurns(first, now), false)
	}
}

// runOfTurns is the run of pieces from first on that may be read now.
func (d *download) runOfTurns(first int, now time.Time) piece.Range {
	size := int(d.layout.PieceSize())
	most := min(max(1, rangeRun/size, len(d.partial.since)/(2*selfReads)), max(1, selfRun/size))
	run := piece.Range{First: first, End: first + 1}
	for run.Len() < most {
		i := run.End
		if _, asked := d.partial.since[i]; !asked || !d.picker.Need.Has(i) || d.picker.Rarity[i] > 0 || d.turnOf(i).After(now) {
			break
		}
		run.End++
	}
	return run
}

// turnOf is when this peer may read piece i from the origin, if no neighbour
// has it by then. All neighbours count the turns alike.
func (d *download) turnOf(i int) time.Time {
	since := d.partial.since[i]
	if !d.partial.on && d.schedulerUp {
		since = since.Add(leaseWait)
	}
	at := since
	later := func(t time.Time) {
		if t.After(at) {
			at = t
		}
	}
	if d.schedulerUp && !d.partial.met {
		later(d.joined.Add(meetWait))
	}
	rank, own := 0, turnOrder(d.self, i)
	for _, n := range d.neighbours {
		switch {
		case !n.open && n.tries <= 1:
			later(n.offered.Add(answerWait))
		case n.open && turnOrder(n.order, i) < own:
			rank++
		}
	}
	later(since.Add(min(time.Duration(rank)*d.turnLength(), maxTurns)))
	return at
}

func (d *download) turnLength() time.Duration {
	usual, known := d.p.pace.expect(d.layout.PieceSize())
	if !known {
		return usualTurn
	}
	return min(max(usual, minTurn), maxTurn)
}

// peerOrder is a peer's part of turnOrder.
func peerOrder(id scheduler.PeerID) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	return h.Sum64()
}

// turnOrder is where a peer comes among those that wait for a piece: at
// another place for each piece, at the same in everybody's eyes.
func turnOrder(peer uint64, i int) uint64 {
	x := peer + uint64(i)*0x9e3779b97f4a7c15 // splitmix64
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// tellNews says what a partial download has, once it has all that is wanted
// now: nobody should be given a lease for these pieces, and the next regular
// summary may be seconds away. It is called once a tick.
func (d *download) tellNews() {
	if d.partial.news && d.resting() {
		d.partial.news = false
		d.report(false)
	}
}

// urgent names a piece of an ordinary download that has holds and a reader of
// parts waits for; false if there is none.
func (d *download) urgent(has *piece.Bitfield) (int, bool) {
	if !d.partial.on {
		for i := range d.partial.since {
			if d.picker.Need.Has(i) && has.Has(i) {
				return i, true
			}
		}
	}
	return 0, false
}

// resting reports whether a partial download has nothing to do: it misses
// nothing that anybody reads.
func (d *download) resting() bool {
	return d.partial.on && d.ingest != nil && len(d.partial.since) == 0
}

// hopes reports whether neighbours have something of what is missing.
func (d *download) hopes() bool {
	if !d.partial.on {
		return d.open() > 0
	}
	for i := range d.partial.since {
		if d.picker.Rarity[i] > 0 {
			return true
		}
	}
	return false
}

// linger is how long the download goes on when nobody reads it.
func (d *download) linger() time.Duration {
	switch {
	case d.ahead.on.Load():
		return aheadLinger
	case d.partial.on:
		return rangeLinger
	}
	return linger
}
