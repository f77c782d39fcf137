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

// faults are all that can befall the crowd, and all it may say.
func (c *crowd) faults() map[string]func(*rapid.T) {
	all := c.life()
	maps.Copy(all, c.malice())
	maps.Copy(all, c.reading())
	return all
}

// life is peers that come and go, want something and get it, and time.
func (c *crowd) life() map[string]func(*rapid.T) {
	peer, blob := rapid.SampledFrom(c.names), rapid.SampledFrom(c.order)
	return map[string]func(*rapid.T){
		"comes up": func(t *rapid.T) {
			p := peer.Draw(t, "peer")
			zone := rapid.SampledFrom([]string{"", "", "z1", "z2"}).Draw(t, "zone")
			c.step(t, PeerUp{Peer: Peer{ID: p, Zone: zone, Rack: rapid.SampledFrom([]string{"", "r1"}).Draw(t, "rack")}})
			c.announce(t, p)
		},
		"crashes": func(t *rapid.T) {
			p := peer.Draw(t, "peer")
			if rapid.IntRange(0, 3).Draw(t, "disk") == 0 {
				clear(c.disk[p])
			}
			if rapid.Bool().Draw(t, "forgets") {
				clear(c.wanted[p])
			}
			c.step(t, PeerDown{Peer: p})
		},
		"joins": func(t *rapid.T) {
			p := peer.Draw(t, "peer")
			j := Join{Peer: p}
			for _, d := range rapid.SliceOfNDistinct(blob, 1, len(c.order), rapid.ID[piece.Digest]).Draw(t, "blobs") {
				m := Membership{Digest: d, Size: SizeUnknown, Origin: rapid.SampledFrom([]string{"", "o1", "o1", "o2"}).Draw(t, "origin")}
				if old, ok := c.wanted[p][d]; rapid.Bool().Draw(t, "knows") || ok && old.Size != SizeUnknown {
					m.Size, m.Have = c.blobs[d].Size(), c.has(p, d)
				}
				if old := c.l.members[d][p]; old != "" {
					m.Origin = old // a download stays with its registry
				}
				if c.l.up[p] {
					c.wanted[p][d] = m
				}
				j.Blobs = append(j.Blobs, m)
			}
			c.step(t, j)
		},
		"leaves": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			delete(c.wanted[p], d)
			c.step(t, Leave{Peer: p, Digest: d})
		},
		"receives": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			first := rapid.IntRange(0, 30).Draw(t, "piece")
			c.gain(p, d, piece.Range{First: first, End: first + rapid.IntRange(1, 30).Draw(t, "pieces")})
			c.step(t, Summary{Peer: p, Blobs: []Progress{c.progress(p, d, false)}})
		},
		"stalls": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			pr := c.progress(p, d, true)
			for _, n := range rapid.SliceOfN(peer, 0, 5).Draw(t, "neighbours") {
				pr.Rates = append(pr.Rates, NeighbourBytes{Peer: n, Bytes: int64(rapid.IntRange(0, 1).Draw(t, "bytes"))})
			}
			c.step(t, Summary{Peer: p, Blobs: []Progress{pr, pr}})
		},
		"time passes": func(t *rapid.T) {
			c.now = c.now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 25, 40, 1000, 2100, 3100, 30_100, 301_000}).Draw(t, "ms")) * time.Millisecond)
			c.step(t, Tick{})
		},
	}
}

// malice is what a peer may say that is not so, and what is done about it.
func (c *crowd) malice() map[string]func(*rapid.T) {
	peer, blob := rapid.SampledFrom(c.names), rapid.SampledFrom(c.order)
	return map[string]func(*rapid.T){
		"lies": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			b := piece.NewBitfield(max(0, c.blobs[d].Count()+rapid.SampledFrom([]int{0, 0, 0, -1, 1}).Draw(t, "too many")))
			for i := range b.Len() {
				if rapid.Bool().Draw(t, "claims") {
					b.Set(i)
				}
			}
			c.knows(p, d)
			c.step(t, Summary{Peer: p, Blobs: []Progress{{Digest: d, Size: c.blobs[d].Size(), Have: b}}})
		},
		"lies about a size": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			c.knows(p, d) // what it says once it is honest
			size := rapid.SampledFrom([]int64{12345, 2 << 20, 1 << 50, -7}).Draw(t, "size")
			if rapid.Bool().Draw(t, "joins") {
				m := Membership{Digest: d, Size: size, Origin: c.l.members[d][p]}
				c.step(t, Join{Peer: p, Blobs: []Membership{m}})
				return
			}
			c.step(t, Summary{Peer: p, Blobs: []Progress{{Digest: d, Size: size, Stalled: true}}})
		},
		"blames": func(t *rapid.T) {
			c.step(t, Blame{Peer: peer.Draw(t, "peer"), Neighbour: peer.Draw(t, "neighbour"), Digest: blob.Draw(t, "blob"),
				Fault: Fault(rapid.IntRange(1, 3).Draw(t, "fault"))})
		},
		"is banned": func(t *rapid.T) {
			c.step(t, BanPeer{Peer: peer.Draw(t, "peer"), For: time.Duration(rapid.IntRange(1, 400).Draw(t, "s")) * time.Second, Reason: "so"})
		},
		"is forgiven": func(t *rapid.T) { c.step(t, UnbanPeer{Peer: peer.Draw(t, "peer")}) },
	}
}

// reading is what becomes of leases.
func (c *crowd) reading() map[string]func(*rapid.T) {
	peer, blob := rapid.SampledFrom(c.names), rapid.SampledFrom(c.order)
	return map[string]func(*rapid.T){
		"reads": func(t *rapid.T) {
			if g, ok := c.lease(t); ok {
				r := c.covers(g)
				n := rapid.IntRange(0, r.Len()).Draw(t, "pieces")
				c.gain(g.To, g.Digest, piece.Range{First: r.First, End: r.First + n})
				pr := c.progress(g.To, g.Digest, false)
				pr.Leases = []LeaseBytes{{ID: g.Lease.ID, Bytes: int64(n) << 20}}
				c.step(t, Summary{Peer: g.To, Blobs: []Progress{pr}})
			}
		},
		"ends a lease": func(t *rapid.T) {
			if g, ok := c.lease(t); ok {
				e := LeaseEnd{Peer: g.To, Digest: g.Digest, Lease: g.Lease.ID, Outcome: Outcome(rapid.IntRange(1, 4).Draw(t, "outcome"))}
				if e.Outcome == Done {
					c.gain(g.To, g.Digest, c.covers(g))
				}
				if e.Outcome == OriginBusy {
					e.RetryAfter = time.Duration(rapid.IntRange(-1, 100).Draw(t, "retry")) * time.Second
				}
				c.step(t, e)
			}
		},
		"ends another's lease": func(t *rapid.T) {
			if g, ok := c.lease(t); ok {
				c.step(t, LeaseEnd{Peer: peer.Draw(t, "peer"), Digest: blob.Draw(t, "blob"),
					Lease: g.Lease.ID + LeaseID(rapid.IntRange(0, 1).Draw(t, "off")), Outcome: Failed})
			}
		},
	}
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

// possible reports whether a blob can be had at all: from the origin, or from
// its members together.
func (c *crowd) possible(d piece.Digest) bool {
	union := piece.NewBitfield(c.blobs[d].Count())
	for p, origin := range c.l.members[d] {
		if origin != "" {
			return true
		}
		b := c.has(p, d)
		for i := range b.All() {
			union.Set(i)
		}
	}
	return union.Full()
}
