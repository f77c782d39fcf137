package scheduler

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/pkg/piece"
)

// crowd are peers that know nothing but what the scheduler tells them, on
// machines that fail. Unlike world's they keep what they have over a crash, lie
// about it, and have links to those only to whom they were introduced.
type crowd struct {
	s      *Scheduler
	l      *ledger
	now    time.Time
	names  []PeerID
	blobs  map[piece.Digest]piece.Layout
	order  []piece.Digest
	disk   map[PeerID]map[piece.Digest]piece.Bitfield
	wanted map[PeerID]map[piece.Digest]Membership
}

func newCrowd(t *rapid.T) *crowd {
	cfg := Config{
		Seed: rapid.Uint64().Draw(t, "seed"), Neighbours: rapid.IntRange(1, 5).Draw(t, "neighbours"), MaxNeighbours: 7,
		LeasesPerHost: rapid.IntRange(1, 6).Draw(t, "perHost"), LeasesPerPeer: rapid.IntRange(1, 4).Draw(t, "perPeer"),
		OriginNearer: rapid.Bool().Draw(t, "originNearer"),
	}
	c := &crowd{
		s: New(cfg), l: newLedger(cfg), now: time.Unix(0, 0), blobs: make(map[piece.Digest]piece.Layout),
		disk: make(map[PeerID]map[piece.Digest]piece.Bitfield), wanted: make(map[PeerID]map[piece.Digest]Membership),
		names: []PeerID{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}[:rapid.IntRange(2, 10).Draw(t, "peers")],
	}
	for i, mib := range []int64{0, 1, 6, 30} {
		layout, _ := piece.NewLayout(mib << 20)
		d := piece.Sum([]byte{byte(i)})
		c.blobs[d] = layout
		c.order = append(c.order, d)
	}
	c.order = c.order[rapid.IntRange(0, 3).Draw(t, "first blob"):]
	for _, p := range c.names {
		c.disk[p] = make(map[piece.Digest]piece.Bitfield)
		c.wanted[p] = make(map[piece.Digest]Membership)
	}
	return c
}

// step plays one event, books it, and checks all that must hold.
func (c *crowd) step(t *rapid.T, e Event) {
	c.l.before(c.now, e)
	for _, d := range c.s.Step(c.now, e) {
		if err := c.l.decided(c.now, d); err != nil {
			t.Fatalf("after %#v: %v", e, err)
		}
	}
	if err := c.s.audit(); err != nil {
		t.Fatalf("after %#v: %v", e, err)
	}
	if err := c.l.compare(c.s); err != nil {
		t.Fatalf("after %#v: %v", e, err)
	}
}

func (c *crowd) has(p PeerID, d piece.Digest) piece.Bitfield {
	if b, ok := c.disk[p][d]; ok {
		return b.Clone()
	}
	return piece.NewBitfield(c.blobs[d].Count())
}

// gain puts pieces on p's disk.
func (c *crowd) gain(p PeerID, d piece.Digest, r piece.Range) {
	b := c.has(p, d)
	for i := r.First; i < min(r.End, b.Len()); i++ {
		b.Set(i)
	}
	c.disk[p][d] = b
}

// knows lets p know the size from now on.
func (c *crowd) knows(p PeerID, d piece.Digest) {
	m := c.wanted[p][d]
	m.Size = c.blobs[d].Size()
	c.wanted[p][d] = m
}

// covers are the pieces that a lease stands for.
func (c *crowd) covers(g Grant) piece.Range {
	if g.Lease.Whole {
		return piece.Range{First: 0, End: c.blobs[g.Digest].Count()}
	}
	return g.Lease.Pieces
}

// announce is the Join of a peer that has come (back): all that it wants or has.
func (c *crowd) announce(t *rapid.T, p PeerID) {
	var j Join
	j.Peer = p
	for _, d := range c.order {
		m, ok := c.wanted[p][d]
		if b := c.has(p, d); b.Count() > 0 || ok && m.Size != SizeUnknown {
			m.Size, m.Have = c.blobs[d].Size(), b
			ok = true
		}
		if ok {
			m.Digest = d
			j.Blobs = append(j.Blobs, m)
		}
	}
	c.step(t, j)
}

func (c *crowd) progress(p PeerID, d piece.Digest, stalled bool) Progress {
	pr := Progress{Digest: d, Size: SizeUnknown, Stalled: stalled}
	if b := c.has(p, d); b.Count() > 0 || c.wanted[p][d].Size != SizeUnknown {
		pr.Size, pr.Have = c.blobs[d].Size(), b
	}
	return pr
}

// lease draws one that lives.
func (c *crowd) lease(t *rapid.T) (Grant, bool) {
	ids := slices.Sorted(maps.Keys(c.l.leases))
	if len(ids) == 0 {
		return Grant{}, false
	}
	return c.l.leases[rapid.SampledFrom(ids).Draw(t, "lease")], true
}

// Whatever befalls a crowd, the scheduler gives nobody what another has, and
// it knows what it gave; once all are gone it remembers nothing.
func TestCrowdUnderFaults(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t)
		t.Repeat(c.faults())
		for _, p := range c.names {
			c.step(t, PeerDown{Peer: p})
		}
		if err := c.s.freed(); err != nil {
			t.Fatal(err)
		}
	})
}

// Once faults stop, every member gets all of its blob by nothing but what the
// scheduler has told it.
func TestCrowdRecovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(t)
		t.Repeat(c.faults())
		c.now = c.now.Add(max(400*time.Second, banFor, doubtFor, shunPair, maxBackoff))
		for range 150 { // the largest blob has 30 pieces
			if c.second(t) {
				return
			}
		}
		for d, sw := range c.s.swarms {
			for _, m := range sw.order {
				id := m.node.peer.ID
				b := c.has(id, d)
				t.Logf("%s %s: has %d of %d, complete %v, origin %q, edges %d, leases %d, skip in %v, stalled since %v", d.Short(), id, b.Count(),
					c.blobs[d].Count(), m.complete, m.origin, len(m.edges), m.leases, m.skip.Sub(c.now), m.stalled)
			}
		}
		t.Fatal("not whole after 150 seconds without a fault")
	})
}

// second lets each peer do for a second what it was told. It reports whether
// all have what they can have.
func (c *crowd) second(t *rapid.T) bool {
	c.now = c.now.Add(time.Second)
	c.step(t, Tick{})
	for _, id := range slices.Sorted(maps.Keys(c.l.leases)) {
		if g, ok := c.l.leases[id]; ok {
			c.gain(g.To, g.Digest, c.covers(g))
			c.step(t, LeaseEnd{Peer: g.To, Digest: g.Digest, Lease: id, Outcome: Done})
		}
	}
	whole := true
	for _, p := range slices.Sorted(maps.Keys(c.l.up)) {
		for _, d := range c.order {
			if _, ok := c.l.members[d][p]; !ok {
				continue
			}
			if c.s.member(p, d) == nil { // it was put out; it will come back with its next stream
				c.step(t, Join{Peer: p, Blobs: []Membership{{Digest: d, Size: c.blobs[d].Size(), Have: c.has(p, d), Origin: c.l.members[d][p]}}})
			}
			old := c.has(p, d)
			before := old.Count()
			c.fetch(p, d)
			b := c.has(p, d)
			if b.Count() > 0 { // by now it knows the size
				c.knows(p, d)
			}
			c.step(t, Summary{Peer: p, Blobs: []Progress{c.progress(p, d, b.Count() == before && !b.Full())}})
			whole = whole && (b.Full() || !c.possible(d))
		}
	}
	return whole
}

// fetch takes what p's neighbours have: those that it was told of, and those
// that were told of it and have spoken to it.
func (c *crowd) fetch(p PeerID, d piece.Digest) {
	b := c.has(p, d)
	for k := range c.l.known[d] {
		if k[0] == p || k[1] == p {
			theirs := c.has(k[0], d)
			if k[0] == p {
				theirs = c.has(k[1], d)
			}
			for i := range theirs.All() {
				b.Set(i)
			}
		}
	}
	c.disk[p][d] = b
}

// possible reports whether a blob can be had at all: from the origin, or from its
// members together. If all of them dispute it there is nobody whom they could believe.
func (c *crowd) possible(d piece.Digest) bool {
	union, believed := piece.NewBitfield(c.blobs[d].Count()), false
	for p, origin := range c.l.members[d] {
		if origin != "" {
			return true
		}
		if m := c.s.member(p, d); m != nil && !m.disputes {
			believed = true
		}
		b := c.has(p, d)
		for i := range b.All() {
			union.Set(i)
		}
	}
	return believed && union.Full()
}
