package scheduler

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// What people are shown of the brain. A view is a copy of what was so at one
// moment and shares nothing with the Scheduler. Lists come in pages: the brain
// stands still while one is made, so that a page is bounded, and making it
// takes one look at each thing listed, ten thousand in a millisecond or two.
const (
	// PageDefault is how long a page is that asks for no length.
	PageDefault = 100
	// PageMost bounds a page.
	PageMost = 500
	// swarmsMost bounds the swarms that are listed of one peer, zonesMost the
	// zones of one swarm, hostsMost the registries.
	swarmsMost, zonesMost, hostsMost = 1000, 256, 256
)

// Page asks for a part of a list that is in the order of its keys.
type Page struct {
	// After is the key of the last one seen; empty: from the start.
	After string
	// Limit is how many at most; 0 is PageDefault, and more than PageMost
	// is PageMost.
	Limit int
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return PageDefault
	}
	return min(p.Limit, PageMost)
}

// take is the page of what there is after the last one seen, and whether more
// follow. It allocates for the page alone.
func take[T any](p Page, all iter.Seq[T], isAfter func(T) bool, compare func(a, b T) int) (page []T, more bool) {
	most := p.limit()
	page = make([]T, 0, most+1)
	for v := range all {
		if p.After != "" && !isAfter(v) || len(page) > most && compare(v, page[most]) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(page, v, compare)
		page = slices.Insert(page[:min(len(page), most)], at, v)
	}
	if len(page) > most {
		return page[:most], true
	}
	return page, false
}

// SwarmView is one swarm in a list. Its key is its digest in text form.
type SwarmView struct {
	Digest piece.Digest
	Born   time.Time
	Size   int64 // SizeUnknown until somebody told it
	// Pieces is how many there are, each of PieceSize but the last; both are
	// 0 while the size is not known.
	Pieces    int
	PieceSize int64
	Members   int
	Seeds     int
	Leases    int
	// Free are pieces that nobody has and nobody reads, with Config.OriginNearer
	// in the sum of all zones; Held is the sum of the pieces of all members.
	Free int
	Held int64
	// Rangeless: the origin serves this blob from front to end only.
	Rangeless bool
	// Traffic is since Born, of members that have left too.
	Traffic Traffic
}

func (sw *swarm) view() SwarmView {
	v := SwarmView{
		Digest: sw.digest, Born: sw.born, Size: sw.size, Members: len(sw.order),
		Seeds: len(sw.seeds), Rangeless: sw.rangeless, Traffic: sw.traffic,
	}
	for _, st := range sw.stocks {
		v.Leases, v.Free, v.Held = v.Leases+len(st.leases), v.Free+st.free, v.Held+st.held
	}
	if sw.size != SizeUnknown {
		v.Pieces, v.PieceSize = sw.layout.Count(), sw.layout.PieceSize()
	}
	return v
}

// ViewSwarms is a page of the swarms, by digest; with active only of those in
// which somebody still misses something.
func (s *Scheduler) ViewSwarms(p Page, active bool) (page []SwarmView, more bool) {
	all := func(yield func(*swarm) bool) {
		for _, sw := range s.swarms {
			if active && len(sw.seeds) == len(sw.order) {
				continue
			}
			if !yield(sw) {
				return
			}
		}
	}
	// Digests of one algorithm are in the order of their bytes.
	after, _ := piece.ParseDigest(p.After) //nolint:errcheck // what is no digest comes before all that are
	found, more := take(p, all, func(sw *swarm) bool { return bytes.Compare(sw.digest[:], after[:]) > 0 },
		func(a, b *swarm) int { return bytes.Compare(a.digest[:], b.digest[:]) })
	page = make([]SwarmView, 0, len(found))
	for _, sw := range found {
		page = append(page, sw.view())
	}
	return page, more
}

// MemberView is one member of a swarm. Its key is its peer's ID.
type MemberView struct {
	Peer       PeerID
	Node       string
	Zone, Rack string
	Have       piece.Bitfield
	Complete   bool
	// Gateway: it fetches for its zone. Doubted: what it claims to have does
	// not count, for somebody blames it. Stalled: it calls for help.
	Gateway, Doubted, Stalled bool
	Leases                    int
	Neighbours                []PeerID
	Traffic                   Traffic
}

func (m *member) view() MemberView {
	v := MemberView{
		Peer: m.node.peer.ID, Node: m.node.peer.Node, Zone: m.node.peer.Zone, Rack: m.node.peer.Rack, Have: m.have.Clone(), Complete: m.complete,
		Gateway: m.gate, Doubted: m.doubted, Stalled: !m.stalled.IsZero(), Leases: m.leases, Traffic: m.traffic,
		Neighbours: make([]PeerID, 0, len(m.edges)),
	}
	for _, o := range m.edges {
		v.Neighbours = append(v.Neighbours, o.node.peer.ID)
	}
	slices.Sort(v.Neighbours)
	return v
}

// LeaseView is one lease that is out.
type LeaseView struct {
	ID      LeaseID
	Holder  PeerID
	Host    string // the registry
	Pieces  piece.Range
	Whole   bool
	Bytes   int64     // read so far
	Granted time.Time // when it was given
	Moved   time.Time // when Bytes last grew
}

// ZoneView is a swarm in one zone; Zone is empty for those who told none.
type ZoneView struct {
	Zone           string
	Members, Seeds int
	Gateways       int
	Traffic        Traffic // of those members
}

// SwarmDetail is one swarm with a page of its members.
type SwarmDetail struct {
	SwarmView
	Leased  piece.Bitfield // the pieces that a lease covers
	Leases  []LeaseView    // as old as their ID
	Zones   []ZoneView     // by name
	Members []MemberView
	More    bool // members follow
}

// ViewSwarm shows one swarm and a page of its members; false if there is none.
func (s *Scheduler) ViewSwarm(d piece.Digest, p Page) (SwarmDetail, bool) {
	sw := s.swarms[d]
	if sw == nil {
		return SwarmDetail{}, false
	}
	v := SwarmDetail{SwarmView: sw.view(), Zones: sw.zones()}
	v.Leased = piece.NewBitfield(v.Pieces)
	for _, st := range sw.stocks {
		for _, l := range st.leases {
			v.Leases = append(v.Leases, LeaseView{
				ID: l.id, Holder: l.holder.node.peer.ID, Host: l.holder.origin, Pieces: l.pieces, Whole: l.whole,
				Bytes: l.bytes, Granted: l.granted, Moved: l.moved,
			})
			for i := l.pieces.First; i < l.pieces.End; i++ {
				v.Leased.Set(i)
			}
		}
	}
	slices.SortFunc(v.Leases, func(a, b LeaseView) int { return cmp.Compare(a.ID, b.ID) })
	page, more := take(p, slices.Values(sw.order), func(m *member) bool { return m.node.peer.ID > PeerID(p.After) },
		func(a, b *member) int { return cmp.Compare(a.node.peer.ID, b.node.peer.ID) })
	for _, m := range page {
		v.Members = append(v.Members, m.view())
	}
	v.More = more
	return v, true
}

func (sw *swarm) zones() []ZoneView {
	of := make(map[string]*ZoneView)
	for _, m := range sw.order {
		zone := m.node.peer.Zone
		z := of[zone]
		if z == nil {
			if len(of) >= zonesMost {
				continue
			}
			z = &ZoneView{Zone: zone}
			of[zone] = z
		}
		z.Members++
		if m.complete {
			z.Seeds++
		}
		if m.gate {
			z.Gateways++
		}
		z.Traffic.add(m.traffic)
	}
	zones := make([]ZoneView, 0, len(of))
	for _, z := range of {
		zones = append(zones, *z)
	}
	slices.SortFunc(zones, func(a, b ZoneView) int { return cmp.Compare(a.Zone, b.Zone) })
	return zones
}

// ViewCounts is how many swarms somebody in them still misses something of, and
// how many bans are in force.
func (s *Scheduler) ViewCounts(now time.Time) (active, bans int) {
	for _, sw := range s.swarms {
		if len(sw.seeds) < len(sw.order) {
			active++
		}
	}
	for _, b := range s.banned {
		if now.Before(b.Until) {
			bans++
		}
	}
	return active, bans
}

// HostView is one origin registry as the leases on it show it.
type HostView struct {
	Host   string
	Leases int
	Bytes  int64 // that leases on it brought
	// AwayUntil is until when it asked to be left alone; zero: it did not.
	AwayUntil time.Time
	// Rate is the bytes a second that a lease usually gets; 0: not known.
	Rate float64
}

// ViewHosts are the registries, by name.
func (s *Scheduler) ViewHosts(now time.Time) []HostView {
	var hosts []HostView
	for name, h := range s.hosts {
		if len(hosts) == hostsMost {
			break
		}
		v := HostView{Host: name, Leases: h.leases, Bytes: h.bytes, Rate: h.rate}
		if now.Before(h.until) {
			v.AwayUntil = h.until
		}
		hosts = append(hosts, v)
	}
	slices.SortFunc(hosts, func(a, b HostView) int { return cmp.Compare(a.Host, b.Host) })
	return hosts
}
