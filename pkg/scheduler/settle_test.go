package scheduler

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/pkg/piece"
)

// After any history, once faults stop and members do what they are told, all
// members of every swarm that has a reader or all pieces become whole.
func TestSwarmsRecover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		actions := w.actions()
		delete(actions, "lie about the size") // the first size heard holds until the swarm is empty
		t.Repeat(actions)

		w.now = w.now.Add(banFor) // bans and shunning end
		const most = 200          // rounds; the largest blob has 40 pieces
		for range most {
			if w.round(t) {
				return
			}
		}
		for _, sw := range w.s.swarms {
			for _, m := range sw.order {
				if !m.complete {
					t.Errorf("%s: %s has %d of %d pieces, %d edges, %d leases; %d free, %d leases", sw.digest.Short(), m.node.peer.ID,
						m.have.Count(), sw.layout.Count(), len(m.edges), m.leases, m.stock.free, len(m.stock.leases))
				}
			}
		}
		t.Fatalf("not whole after %d rounds", most)
	})
}

// round is a second in which each member reads what it has leased, takes what
// its neighbours have, and tells of it. It reports whether all are whole that
// can be.
func (w *world) round(t *rapid.T) bool {
	w.now = w.now.Add(time.Second)
	w.step(t, Tick{})
	for _, id := range slices.Sorted(maps.Keys(w.leases)) {
		g, ok := w.leases[id]
		if !ok {
			continue // revoked meanwhile
		}
		delete(w.leases, id)
		m := w.s.member(g.To, g.Digest)
		if m == nil || m.lease(id) == nil {
			continue // it ended with a stream or a membership
		}
		w.read(g)
		w.step(t, w.summary(m, false))
		w.step(t, LeaseEnd{Peer: g.To, Digest: g.Digest, Lease: id, Outcome: Done})
	}
	whole := true
	for _, p := range slices.Sorted(maps.Keys(w.s.peers)) {
		for _, m := range slices.Clone(w.s.peers[p].members) {
			before := w.bits(p, m.swarm.digest)
			after := w.exchange(m)
			w.step(t, w.summary(m, after == before.Count() && m.leases == 0))
			whole = whole && (m.complete || !w.canBeWhole(m.swarm))
		}
	}
	return whole
}

// exchange gives a member what its neighbours have.
func (w *world) exchange(m *member) int {
	p, d := m.node.peer.ID, m.swarm.digest
	b := w.bits(p, d)
	for _, o := range m.edges {
		theirs := w.bits(o.node.peer.ID, d)
		for i := range theirs.All() {
			b.Set(i)
		}
	}
	w.set(p, d, b)
	return b.Count()
}

// summary is what m would tell: the size only once it can know it.
func (w *world) summary(m *member, stalled bool) Summary {
	p, d := m.node.peer.ID, m.swarm.digest
	pr := Progress{Digest: d, Size: w.blobs[d].Size(), Have: w.bits(p, d), Stalled: stalled}
	if pr.Have.Count() == 0 && m.swarm.size == SizeUnknown && pr.Have.Len() > 0 {
		pr.Size, pr.Have = SizeUnknown, piece.Bitfield{}
	}
	return Summary{Peer: p, Blobs: []Progress{pr}}
}

// canBeWhole reports whether all of a blob can be had: somebody may read it,
// or the members hold all of it between them.
func (w *world) canBeWhole(sw *swarm) bool {
	union := piece.NewBitfield(w.blobs[sw.digest].Count())
	for _, m := range sw.order {
		if m.origin != "" {
			return true
		}
		b := w.bits(m.node.peer.ID, sw.digest)
		for i := range b.All() {
			union.Set(i)
		}
	}
	return union.Full()
}
