package peer

import (
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
)

// haveLater is how long the news of a piece may wait for other news, if the
// neighbour has that piece itself. It could use it only if it lost its own.
const haveLater = time.Second

// flushHave announces fresh pieces: the first at once, later ones together.
func (d *download) flushHave(now time.Time) {
	if len(d.fresh) == 0 {
		return
	}
	if wait := choice.HaveEvery - now.Sub(d.lastHave); wait > 0 {
		d.flush.Reset(wait)
		return
	}
	d.lastHave = now
	fresh := slices.Clip(d.fresh)
	d.fresh = nil
	for _, n := range d.neighbours {
		if n.offered.IsZero() {
			continue
		}
		n.untold = append(slices.Clip(n.untold), fresh...)
		if n.lacks(fresh) {
			d.tellHave(n, now)
		}
	}
}

// lacks reports whether a neighbour is not known to have all of some pieces.
func (n *neighbour) lacks(some []Claim) bool {
	return !n.open || slices.ContainsFunc(some, func(c Claim) bool { return !n.has.Has(c.Index) })
}

// tellHave announces to a neighbour what it was not told yet.
func (d *download) tellHave(n *neighbour, now time.Time) {
	switch {
	case !d.p.may(n.peer.ID, d.ref.Digest):
		n.withheld = true
	case n.withheld: // it has shown a ticket since
		d.offer(n, true)
		return
	default:
		d.p.cfg.Network.Send(n.peer, Have{Digest: d.ref.Digest, Pieces: n.untold})
	}
	n.untold, n.told = nil, now
}

// tellLater announces what has waited for long enough.
func (d *download) tellLater(now time.Time) {
	for _, n := range d.neighbours {
		if len(n.untold) > 0 && now.Sub(n.told) >= haveLater {
			d.tellHave(n, now)
		}
	}
}

// flushLast announces everything without waiting for more.
func (d *download) flushLast() {
	now := time.Now()
	d.lastHave = time.Time{}
	d.flushHave(now)
	for _, n := range d.neighbours {
		if len(n.untold) > 0 {
			d.tellHave(n, now)
		}
	}
}
