package sim

import (
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// maxNeighbours bounds the edges of one download, as in pkg/peer.
const maxNeighbours = 48

// edge is another peer in the swarm, as a download sees it.
type edge struct {
	other       *node
	back        *edge // the other's edge to this node, once looked up
	open        bool
	gone        bool // parted from
	has         piece.Bitfield
	outstanding int
	coolUntil   int64
	strikes     int
	delivered   int64
}

// far reports whether a neighbour is in another zone.
func (d *download) far(e *edge) bool { return e.other.zone != d.n.zone }

func (d *download) edge(o *node) *edge {
	for _, e := range d.edges {
		if e.other == o {
			return e
		}
	}
	return nil
}

// introduced turns to new neighbours.
func (d *download) introduced(peers []scheduler.Peer) {
	for _, p := range peers {
		o := d.n.w.byID[p.ID]
		if d.edge(o) == nil && d.meet(o) != nil {
			d.n.w.after(d.n.w.away(d.n, o), &offer{from: d, to: o}, 0)
		}
	}
}

func (d *download) meet(o *node) *edge {
	if o == d.n || !o.alive || len(d.edges) >= maxNeighbours {
		return nil
	}
	e := &edge{other: o}
	d.edges = append(d.edges, e)
	return e
}

// offer is what a download has, on its way to a neighbour; a reply is the way
// back.
type offer struct {
	from  *download
	to    *node
	reply bool
}

func (m *offer) fire(uint8) {
	w, n := m.to.w, m.from.n
	if !m.to.alive || !n.alive {
		return
	}
	d := m.to.downloads[m.from.layer]
	if d == nil {
		return
	}
	if !d.done {
		e := d.edge(n)
		if e == nil {
			e = d.meet(n)
		}
		if e != nil {
			d.admit(e, &m.from.have)
		}
	}
	if !m.reply && !m.from.done {
		w.after(w.away(m.to, n), &offer{from: d, to: n, reply: true}, 0)
	}
}

// admit makes a neighbour's offer count.
func (d *download) admit(e *edge, has *piece.Bitfield) {
	if e.open {
		d.picker.Remove(&e.has, d.far(e))
	}
	e.open, e.has = true, has.Clone()
	d.picker.Add(&e.has, d.far(e), d.n.w.clock())
	d.startFetches()
}

// part ends the edge to a neighbour and what is under way from it.
func (d *download) part(o *node) {
	e := d.edge(o)
	if e == nil || d.done {
		return
	}
	if e.open {
		d.picker.Remove(&e.has, d.far(e))
	}
	d.edges = slices.DeleteFunc(d.edges, func(x *edge) bool { return x == e })
	e.gone = true
	for _, f := range slices.Clone(d.fetches) {
		if f.from == e {
			f.end()
			d.miss(f.piece)
		}
	}
	d.startFetches()
}

// flush announces fresh pieces: the first at once, later ones together.
func (d *download) flush() {
	w := d.n.w
	if len(d.fresh) == 0 || d.flushing {
		return
	}
	if wait := choice.HaveEvery - time.Duration(w.now-d.lastHave); wait > 0 {
		d.flushing = true
		w.after(wait, d, downloadFlush)
		return
	}
	d.lastHave = w.now
	fresh := d.fresh
	d.fresh = nil
	for _, away := range []time.Duration{w.cfg.InRack, w.cfg.InZone, w.cfg.BetweenZones} {
		to := make([]*edge, 0, len(d.edges))
		for _, e := range d.edges {
			if w.away(d.n, e.other) == away {
				to = append(to, e)
			}
		}
		if len(to) > 0 {
			w.after(away, &have{d, to, fresh}, 0)
		}
		if w.cfg.InRack == w.cfg.InZone && w.cfg.InZone == w.cfg.BetweenZones {
			return
		}
	}
}

// have is news of pieces on its way to neighbours.
type have struct {
	from   *download
	to     []*edge
	pieces []int32
}

func (m *have) fire(uint8) {
	for _, e := range m.to {
		d := e.other.downloads[m.from.layer]
		if !e.other.alive || d == nil || d.done {
			continue
		}
		if back := d.backOf(e, m.from.n); back != nil && back.open {
			d.heard(back, m.pieces)
		}
	}
}

// backOf is d's edge to n, which has the edge e to d; nil if there is none. It is
// asked for with every piece that anybody tells of, hence remembered.
func (d *download) backOf(e *edge, n *node) *edge {
	if e.back == nil || e.back.gone {
		e.back = d.edge(n)
	}
	return e.back
}

// heard counts what a neighbour says that it has.
func (d *download) heard(e *edge, pieces []int32) {
	d.heardOf = d.n.w.now
	useful := false
	for _, i := range pieces {
		if e.has.Set(int(i)) {
			d.picker.Gain(int(i), d.far(e), d.n.w.clock())
			useful = useful || d.picker.Need.Has(int(i))
		}
	}
	if useful {
		d.startFetches()
	}
}
