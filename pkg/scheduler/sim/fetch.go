package sim

import (
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// As in pkg/peer: the deadlines of a piece.
const (
	deadlineFactor = 4
	hedgeFactor    = 3
	minDeadline    = 300 * time.Millisecond
	firstByteWait  = 1500 * time.Millisecond
	queueWait      = 2 * choice.SlotWait
	maxStrikes     = 3
)

// The stations of a fetch.
const (
	fetchAsks    uint8 = iota // the request is at the neighbour
	fetchTired                // it has waited for a slot for long
	fetchBusy                 // the neighbour's refusal is here
	fetchArrived              // the last byte is here
)

// fetch is one piece on its way from one neighbour.
type fetch struct {
	d       *download
	from    *edge
	piece   int
	length  int64
	hedge   bool
	started int64
	lead    time.Duration // until the first byte is here
	moved   int64
	bytes   int64
	ended   bool
	slot    bool // it holds one of the neighbour's slots
	waiter  *choice.Waiter[int32, wanted]
	flow    flow
}

// startFetches asks neighbours for pieces while there are both. Each round
// gives every neighbour at most one more, so that requests spread.
func (d *download) startFetches() {
	if d.done || d.picker.Need.Count() == 0 || !d.mayFetch() {
		return
	}
	usual, _ := d.n.pace.Expect(d.layout.PieceSize())
	limit, front := choice.Depth(usual), d.front()
	order := slices.Clone(d.edges)
	for depth := 1; depth <= limit; depth++ {
		d.n.w.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, e := range order {
			if !d.mayFetch() {
				return
			}
			if !e.open || e.outstanding >= depth || d.n.w.now < e.coolUntil {
				continue
			}
			i, ok := 0, false
			if d.far(e) {
				i, ok = d.picker.PickFar(&e.has, front, d.n.w.clock(), choice.CrossTurn(usual))
			} else {
				i, ok = d.picker.Pick(&e.has, front)
			}
			if ok {
				d.startFetch(i, e, false)
			}
		}
	}
}

func (d *download) mayFetch() bool {
	return choice.MayFetch(len(d.fetches), d.n.fetching, d.n.pace.Early(d.layout.PieceSize()))
}

func (d *download) startFetch(i int, e *edge, hedge bool) {
	w := d.n.w
	_, length := d.layout.Bounds(i)
	f := &fetch{d: d, from: e, piece: i, length: length, hedge: hedge, started: w.now, moved: w.now}
	d.fetches = append(d.fetches, f)
	d.picker.Need.Clear(i)
	e.outstanding++
	d.n.fetching++
	w.after(w.away(d.n, e.other), f, fetchAsks)
}

func (f *fetch) fire(kind uint8) {
	if f.ended {
		return
	}
	w, o := f.d.n.w, f.from.other
	switch kind {
	case fetchAsks:
		f.ask(w, o)
	case fetchTired:
		if f.waiter != nil && o.slots.GiveUp(f.waiter) {
			delete(o.queued, f.waiter)
			f.waiter = nil
			w.after(w.away(o, f.d.n), f, fetchBusy)
		}
	case fetchBusy:
		w.stats.busy++
		f.d.heardOf = w.now
		f.from.coolUntil = w.now + int64(choice.BusyWait) + w.rng.Int64N(int64(choice.BusyWait))
		f.fail()
	case fetchArrived:
		f.arrivedWell()
	}
}

// ask is the request at the neighbour.
func (f *fetch) ask(w *world, o *node) {
	answer, waiter := o.slots.Ask(w.clock(), f.d.n.at, wanted{int32(f.d.layer), int32(f.piece)})
	switch answer {
	case choice.Go:
		f.begin()
	case choice.Wait:
		f.waiter = waiter
		o.queued[waiter] = f
		w.after(choice.SlotWait, f, fetchTired)
	case choice.Busy:
		w.after(w.away(o, f.d.n), f, fetchBusy)
	}
}

// begin lets the bytes flow: there is a slot.
func (f *fetch) begin() {
	w, o, n := f.d.n.w, f.from.other, f.d.n
	f.slot = true
	f.lead = f.d.since(f.started) + w.away(o, n)
	f.flow = flow{from: &o.out, down: &n.down, left: f.length, chunk: max(f.length/chunksPerPiece, minChunk), sink: f}
	if o.zone != n.zone {
		f.flow.via = [2]*link{&w.zones[o.zone].out, &w.zones[n.zone].in}
	}
	f.flow.start()
}

// arrived implements sink.
func (f *fetch) arrived(n, left int64) {
	w := f.d.n.w
	if f.bytes == 0 && f.hedge { // it does deliver: the slow one makes way
		for _, o := range slices.Clone(f.d.fetches) {
			if o.piece == f.piece && o != f {
				o.end()
			}
		}
	}
	f.bytes += n
	f.moved, f.d.moved = w.now, w.now
	w.stats.peerBytes += n
	if f.from.other.zone != f.d.n.zone {
		w.stats.crossBytes += n
	}
	if left == 0 {
		f.release()
		w.after(w.away(f.from.other, f.d.n), f, fetchArrived)
	}
}

func (f *fetch) arrivedWell() {
	d, w := f.d, f.d.n.w
	f.end()
	f.from.strikes = 0
	if !d.got(f.piece) {
		w.stats.wasted += f.length
		return
	}
	f.from.delivered += f.length
	d.n.pace.ObserveNeighbour(f.length, f.lead, time.Duration(w.now-f.started))
	for _, o := range slices.Clone(d.fetches) {
		if o.piece == f.piece {
			o.end()
		}
	}
	if d.have.Full() {
		d.finish()
		return
	}
	d.startFetches()
}

// fail ends a fetch; its piece is asked of somebody else.
func (f *fetch) fail() {
	f.end()
	f.d.miss(f.piece)
	f.d.startFetches()
}

// end takes a fetch off all lists.
func (f *fetch) end() {
	if f.ended {
		return
	}
	f.ended = true
	f.from.outstanding--
	f.d.n.fetching--
	f.d.fetches = slices.DeleteFunc(f.d.fetches, func(x *fetch) bool { return x == f })
	f.release()
}

// release gives up the neighbour's slot, or the place in the queue for it.
func (f *fetch) release() {
	o := f.from.other
	f.flow.stopped = true
	if f.waiter != nil && !f.slot {
		delete(o.queued, f.waiter)
		o.slots.GiveUp(f.waiter)
		f.waiter = nil
	}
	if !f.slot {
		return
	}
	f.slot = false
	if w := o.slots.Release(f.d.n.w.clock(), f.d.n.at); w != nil {
		next := o.queued[w]
		delete(o.queued, w)
		next.begin()
	}
}

// tickFetches enforces deadlines and hedges what is late.
func (d *download) tickFetches() {
	front, endgame, now := d.front(), d.picker.Need.Count() == 0, d.n.w.now
	for _, f := range slices.Clone(d.fetches) {
		if f.ended {
			continue
		}
		usual, known := d.n.pace.Expect(f.length)
		patience := firstByteWait
		if known {
			patience = min(patience, max(minDeadline, deadlineFactor*usual))
		}
		if f.bytes == 0 {
			patience = max(patience, queueWait)
		}
		age, still := time.Duration(now-f.started), time.Duration(now-f.moved)
		switch {
		case still > patience:
			f.late()
		case known && !d.twice(f) && (endgame || f.piece == front) && age > max(minDeadline, hedgeFactor*usual):
			d.hedgeFetch(f)
		}
	}
}

// twice reports whether a second neighbour has been asked for f's piece.
func (d *download) twice(f *fetch) bool {
	return slices.ContainsFunc(d.fetches, func(o *fetch) bool { return o != f && o.piece == f.piece })
}

// late gives up on a fetch. The neighbour loses its place after several.
func (f *fetch) late() {
	d, e := f.d, f.from
	e.coolUntil = d.n.w.now + int64(minDeadline)
	f.fail()
	if e.strikes++; e.strikes >= maxStrikes && len(d.edges) > 1 && d.edge(e.other) == e {
		d.part(e.other)
		d.n.w.brain.tell(scheduler.Blame{Peer: d.n.peer.ID, Digest: d.digest(), Neighbour: e.other.peer.ID, Fault: scheduler.Slow})
	}
}

// hedgeFetch asks a second neighbour for a piece that is late.
func (d *download) hedgeFetch(slow *fetch) {
	var best *edge
	for _, e := range d.edges {
		if e == slow.from || !e.open || !e.has.Has(slow.piece) || d.n.w.now < e.coolUntil {
			continue
		}
		if best == nil || e.outstanding < best.outstanding {
			best = e
		}
	}
	if best == nil || best.outstanding >= choice.PerNeighbour {
		return
	}
	d.n.w.stats.hedges++
	d.startFetch(slow.piece, best, true)
}
