package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/pkg/piece"
)

// audit recounts what the scheduler keeps count of, and returns what is wrong.
func (s *Scheduler) audit() error {
	hostLeases := make(map[*host]int)
	nodeLeases := make(map[*node]int)
	for d, sw := range s.swarms {
		if len(sw.order) == 0 || len(sw.order) != len(sw.members) {
			return fmt.Errorf("%s: %d members in order, %d by name", d.Short(), len(sw.order), len(sw.members))
		}
		if err := sw.audit(s.cfg, hostLeases, nodeLeases); err != nil {
			return fmt.Errorf("%s: %w", d.Short(), err)
		}
	}
	for name, h := range s.hosts {
		if h.leases != hostLeases[h] || h.leases > s.cfg.LeasesPerHost {
			return fmt.Errorf("host %s: counts %d leases, has %d", name, h.leases, hostLeases[h])
		}
	}
	members, reporting := 0, 0
	for id, n := range s.peers {
		if s.ViewBan(s.now, id) != nil && len(n.members) > 0 {
			return fmt.Errorf("%s is banned and a member of %d swarms", id, len(n.members))
		}
		members += len(n.members)
		if n.leases != nodeLeases[n] {
			return fmt.Errorf("peer %s: counts %d leases, has %d", id, n.leases, nodeLeases[n])
		}
		missing := 0
		for _, m := range n.members {
			if !m.complete {
				missing++
			}
		}
		if n.missing != missing {
			return fmt.Errorf("peer %s: counts %d swarms in which it misses something, has %d", id, n.missing, missing)
		}
		if missing > 0 {
			reporting++
		}
	}
	if members != s.stats.Members {
		return fmt.Errorf("counts %d members, has %d", s.stats.Members, members)
	}
	if reporting != s.reporting {
		return fmt.Errorf("counts %d peers that report, has %d", s.reporting, reporting)
	}
	return nil
}

// auditGates checks that each zone has its gateways, and they are in it.
func (sw *swarm) auditGates() error {
	if sw.split && !sw.bridged && len(sw.gates) > 0 {
		return fmt.Errorf("%d zones have gateways, and keep to themselves", len(sw.gates))
	}
	of := make(map[*member]string)
	for _, g := range sw.gates {
		if len(g.members) == 0 || len(g.members) > gatesPerZone {
			return fmt.Errorf("zone %q has %d gateways", g.zone, len(g.members))
		}
		for _, m := range g.members {
			of[m] = g.zone
		}
	}
	for _, m := range sw.order {
		zone, listed := of[m]
		if m.gate != listed || listed && zone != m.node.peer.Zone {
			return fmt.Errorf("%s of zone %q: gateway %v, listed %v for %q", m.node.peer.ID, m.node.peer.Zone, m.gate, listed, zone)
		}
		if z := m.node.peer.Zone; z != "" && sw.gatesOf(z) == nil && !m.keepsApart() {
			return fmt.Errorf("zone %q has members and no gateway", z)
		}
	}
	return nil
}

func (sw *swarm) audit(cfg Config, hostLeases map[*host]int, nodeLeases map[*node]int) error {
	mine := make(map[*member]int)
	counted := 0
	for _, st := range sw.stocks {
		if err := st.audit(hostLeases, nodeLeases, mine); err != nil {
			return fmt.Errorf("stock of zone %q: %w", st.zone, err)
		}
		counted += len(st.members())
	}
	if counted != len(sw.order) {
		return fmt.Errorf("%d members in all stocks, %d in order", counted, len(sw.order))
	}
	if err := sw.auditGates(); err != nil {
		return err
	}
	seeds, places := 0, 0
	for i, m := range sw.order {
		if m.at != i || m.leases != mine[m] {
			return fmt.Errorf("member %s: at %d of %d, counts %d leases, has %d", m.node.peer.ID, m.at, i, m.leases, mine[m])
		}
		if m.complete {
			seeds++
		}
		for p := range m.places() {
			if !slices.Contains(sw.near[p], m) {
				return fmt.Errorf("member %s is not listed at %v", m.node.peer.ID, p)
			}
			places++
		}
		if len(m.edges) > cfg.MaxNeighbours {
			return fmt.Errorf("member %s has %d neighbours", m.node.peer.ID, len(m.edges))
		}
		for _, o := range m.edges {
			if o == m || sw.members[o.node] != o || !slices.Contains(o.edges, m) {
				return fmt.Errorf("edge of %s to %s is not one of two members", m.node.peer.ID, o.node.peer.ID)
			}
		}
	}
	for _, ms := range sw.near {
		places -= len(ms)
	}
	if places != 0 {
		return fmt.Errorf("%d too few are listed as near", places)
	}
	if seeds != len(sw.seeds) {
		return fmt.Errorf("counts %d seeds, has %d", len(sw.seeds), seeds)
	}
	return nil
}

// audit recounts one stock, and adds its leases to what each holder has.
func (st *stock) audit(hostLeases map[*host]int, nodeLeases map[*node]int, mine map[*member]int) error {
	sw := st.swarm
	if (len(st.leases) > 0 || st.wanting()) != (st.working >= 0) {
		return fmt.Errorf("working %d with %d leases and %d free pieces", st.working, len(st.leases), st.free)
	}
	leased := piece.NewBitfield(sw.layout.Count())
	for _, l := range st.leases {
		hostLeases[l.host]++
		nodeLeases[l.holder.node]++
		mine[l.holder]++
		if sw.members[l.holder.node] != l.holder || l.stock != st || l.holder.stock != st {
			return fmt.Errorf("lease %d is held by %s, who left", l.id, l.holder.node.peer.ID)
		}
		for i := l.pieces.First; i < l.pieces.End; i++ {
			if !leased.Set(i) {
				return fmt.Errorf("piece %d is leased twice", i)
			}
		}
	}
	holders := make([]int32, len(st.holders))
	for _, m := range st.members() {
		if m.stock != st || sw.split && m.node.peer.Zone != st.zone {
			return fmt.Errorf("member %s of zone %q does not count here", m.node.peer.ID, m.node.peer.Zone)
		}
		for p := range m.have.All() {
			if !m.doubted {
				holders[p]++
			}
		}
	}
	free, held := 0, int64(0)
	for p, n := range holders {
		if n != st.holders[p] || leased.Has(p) != st.leased.Has(p) {
			return fmt.Errorf("piece %d: counts %d holders, has %d", p, st.holders[p], n)
		}
		if n == 0 && !leased.Has(p) {
			free++
		}
		held += int64(n)
	}
	if held != st.held || sw.size != SizeUnknown && free != st.free || len(st.members()) == 0 {
		return fmt.Errorf("counts %d free pieces and %d held, has %d and %d of %d members", st.free, st.held, free, held, len(st.members()))
	}
	return nil
}

// world is what the peers of a property test really have.
type world struct {
	s       *Scheduler
	now     time.Time
	names   []PeerID       // who may come
	digests []piece.Digest // what they may join
	up      map[PeerID]bool
	have    map[PeerID]map[piece.Digest]piece.Bitfield
	leases  map[LeaseID]Grant
	blobs   map[piece.Digest]piece.Layout
}

func newWorld(t *rapid.T) *world {
	w := &world{
		s: New(Config{
			Seed: rapid.Uint64().Draw(t, "seed"), Neighbours: rapid.IntRange(1, 4).Draw(t, "neighbours"), MaxNeighbours: 6,
			LeasesPerHost: rapid.IntRange(1, 6).Draw(t, "perHost"), OriginNearer: rapid.Bool().Draw(t, "originNearer"),
		}),
		now: time.Unix(0, 0), up: make(map[PeerID]bool), have: make(map[PeerID]map[piece.Digest]piece.Bitfield),
		leases: make(map[LeaseID]Grant), blobs: make(map[piece.Digest]piece.Layout),
	}
	for i, mib := range []int64{0, 1, 5, 40} {
		l, _ := piece.NewLayout(mib << 20)
		d := piece.Sum([]byte{byte(i)})
		w.blobs[d] = l
		w.digests = append(w.digests, d)
	}
	// Few peers and few blobs meet each other more often.
	w.names = []PeerID{"a", "b", "c", "d", "e", "f", "g", "h"}[:rapid.IntRange(2, 8).Draw(t, "peers")]
	w.digests = w.digests[rapid.IntRange(0, 3).Draw(t, "first blob"):]
	return w
}

// step plays one event and checks everything that must hold after it.
func (w *world) step(t *rapid.T, e Event) {
	before := make(map[PeerID]bool)
	for p := range w.up {
		before[p] = true
	}
	for _, d := range w.s.Step(w.now, e) {
		if !w.up[d.Recipient()] {
			t.Fatalf("%#v to %s, who is not there", d, d.Recipient())
		}
		if d.Why() == "" {
			t.Fatalf("%#v has no reason", d)
		}
		switch d := d.(type) {
		case Grant:
			w.leases[d.Lease.ID] = d
		case Revoke:
			delete(w.leases, d.Lease)
		case Introduce:
			for _, p := range d.Peers {
				if p.ID == d.To {
					t.Fatalf("%s is introduced to itself", d.To)
				}
			}
		}
	}
	if err := w.s.audit(); err != nil {
		t.Fatalf("after %#v: %v", e, err)
	}
}

func (w *world) bits(p PeerID, d piece.Digest) piece.Bitfield {
	if b, ok := w.have[p][d]; ok {
		return b.Clone()
	}
	return piece.NewBitfield(w.blobs[d].Count())
}

func (w *world) set(p PeerID, d piece.Digest, b piece.Bitfield) {
	if w.have[p] == nil {
		w.have[p] = make(map[piece.Digest]piece.Bitfield)
	}
	w.have[p][d] = b
}

// read gives a lease's holder its pieces, as the origin would.
func (w *world) read(g Grant) {
	b := w.bits(g.To, g.Digest)
	run := g.Lease.Pieces
	if g.Lease.Whole {
		run = piece.Range{First: 0, End: w.blobs[g.Digest].Count()}
	}
	for i := run.First; i < min(run.End, b.Len()); i++ { // somebody may have lied about the size
		b.Set(i)
	}
	w.set(g.To, g.Digest, b)
}

// Whatever happens in whatever order, the counts are right, the budgets are
// kept and nobody hears of what does not concern him.
func TestAnythingMayHappen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(w.actions())
	})
}

// actions are all that peers and time can do.
func (w *world) actions() map[string]func(*rapid.T) {
	peer := rapid.SampledFrom(w.names)
	blob := rapid.SampledFrom(w.digests)
	return map[string]func(*rapid.T){
		"up": func(t *rapid.T) {
			p := peer.Draw(t, "peer")
			zone := rapid.SampledFrom([]string{"", "z1", "z2"}).Draw(t, "zone")
			w.up[p] = true // perhaps again, and elsewhere
			w.step(t, PeerUp{Peer: Peer{ID: p, Zone: zone, Rack: zone}})
		},
		"down": func(t *rapid.T) {
			p := peer.Draw(t, "peer")
			delete(w.up, p)
			delete(w.have, p)
			w.step(t, PeerDown{Peer: p})
		},
		"join": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			m := Membership{Digest: d, Size: SizeUnknown, Origin: rapid.SampledFrom([]string{"", "o1", "o2"}).Draw(t, "origin")}
			if rapid.Bool().Draw(t, "knows") {
				m.Size, m.Have = w.blobs[d].Size(), w.bits(p, d)
			}
			w.step(t, Join{Peer: p, Blobs: []Membership{m}})
		},
		"leave": func(t *rapid.T) { w.step(t, Leave{Peer: peer.Draw(t, "peer"), Digest: blob.Draw(t, "blob")}) },
		"summary": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			b := w.bits(p, d)
			if b.Len() > 0 {
				i := rapid.IntRange(0, b.Len()-1).Draw(t, "piece")
				if rapid.Bool().Draw(t, "gains") {
					b.Set(i)
				} else {
					b.Clear(i)
				}
			}
			w.set(p, d, b)
			w.step(t, Summary{Peer: p, Blobs: []Progress{{
				Digest: d, Size: w.blobs[d].Size(), Have: b, Stalled: rapid.Bool().Draw(t, "stalled"),
				Rates: []NeighbourBytes{{Peer: peer.Draw(t, "neighbour")}},
			}}})
		},
		"lie about the size": func(t *rapid.T) {
			w.step(t, Summary{Peer: peer.Draw(t, "peer"), Blobs: []Progress{{Digest: blob.Draw(t, "blob"), Size: 12345}}})
		},
		"blame": func(t *rapid.T) {
			w.step(t, Blame{Peer: peer.Draw(t, "peer"), Neighbour: peer.Draw(t, "neighbour"), Digest: blob.Draw(t, "blob"),
				Fault: Fault(rapid.IntRange(1, 3).Draw(t, "fault"))})
		},
		"dispute": func(t *rapid.T) {
			w.step(t, Dispute{Peer: peer.Draw(t, "peer"), Digest: blob.Draw(t, "blob"), Settled: rapid.Bool().Draw(t, "settled"), Misread: rapid.IntRange(0, 9).Draw(t, "misread") == 0, Pieces: []int{rapid.IntRange(-1, 9).Draw(t, "piece")}})
		},
		"ban": func(t *rapid.T) {
			w.step(t, BanPeer{Peer: peer.Draw(t, "peer"), For: time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond, Reason: "it must"})
		},
		"unban": func(t *rapid.T) { w.step(t, UnbanPeer{Peer: peer.Draw(t, "peer")}) },
		"lease ends": func(t *rapid.T) {
			if ids := slices.Sorted(maps.Keys(w.leases)); len(ids) > 0 {
				g := w.leases[rapid.SampledFrom(ids).Draw(t, "lease")]
				o := Outcome(rapid.IntRange(1, 4).Draw(t, "outcome"))
				delete(w.leases, g.Lease.ID)
				if o == Done {
					w.read(g)
				}
				w.step(t, LeaseEnd{Peer: g.To, Digest: g.Digest, Lease: g.Lease.ID, Outcome: o})
			}
		},
		"tick": func(t *rapid.T) {
			w.now = w.now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
			w.step(t, Tick{})
		},
	}
}

// Once members do what they are told, every blob that one of them can read
// becomes whole in the swarm, each piece read once; where the origin is nearer than
// another zone, once for each zone.
func TestEveryPieceIsLeasedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		d := piece.Sum([]byte{3})
		layout := w.blobs[d]
		zones := make(map[PeerID]string)
		for i := range rapid.IntRange(1, 8).Draw(t, "members") {
			p := PeerID(rune('a' + i))
			zones[p] = rapid.SampledFrom([]string{"", "z1", "z2"}).Draw(t, "zone")
			w.up[p] = true
			w.step(t, PeerUp{Peer: Peer{ID: p, Zone: zones[p]}})
			w.step(t, Join{Peer: p, Blobs: []Membership{{Digest: d, Size: layout.Size(), Have: w.bits(p, d), Origin: "o"}}})
		}
		read := make(map[string]map[int]int)
		for p := range zones {
			if !w.s.cfg.OriginNearer {
				zones[p] = "the cluster"
			}
			read[zones[p]] = make(map[int]int)
		}
		for range 200 {
			w.now = w.now.Add(TickEvery)
			w.step(t, Tick{})
			for _, id := range slices.Sorted(maps.Keys(w.leases)) {
				g := w.leases[id]
				delete(w.leases, id)
				for i := g.Lease.Pieces.First; i < g.Lease.Pieces.End; i++ {
					read[zones[g.To]][i]++
				}
				w.read(g)
				w.step(t, LeaseEnd{Peer: g.To, Digest: d, Lease: id, Outcome: Done})
				w.step(t, Summary{Peer: g.To, Blobs: []Progress{{Digest: d, Size: layout.Size(), Have: w.bits(g.To, d)}}})
			}
		}
		for zone, times := range read {
			for i := range layout.Count() {
				if times[i] != 1 {
					t.Fatalf("piece %d was read %d times for %q", i, times[i], zone)
				}
			}
		}
	})
}
