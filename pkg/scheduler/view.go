package scheduler

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
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
	// Free are pieces that nobody has and nobody reads; Held is the sum of
	// the pieces of all members.
	Free int
	Held int64
	// Rangeless: the origin serves this blob from front to end only.
	Rangeless bool
	// Traffic is since Born, of members that have left too.
	Traffic Traffic
}

func (sw *swarm) view() SwarmView {
	v := SwarmView{
		Digest: sw.digest, Born: sw.born, Size: sw.size, Pieces: len(sw.holders), Members: len(sw.order),
		Seeds: len(sw.seeds), Leases: len(sw.leases), Free: sw.free, Held: sw.held, Rangeless: sw.rangeless, Traffic: sw.traffic,
	}
	if sw.size != SizeUnknown {
		v.PieceSize = sw.layout.PieceSize()
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
	v := SwarmDetail{SwarmView: sw.view(), Leased: sw.leased.Clone(), Zones: sw.zones()}
	for _, l := range sw.leases {
		v.Leases = append(v.Leases, LeaseView{
			ID: l.id, Holder: l.holder.node.peer.ID, Host: l.holder.origin, Pieces: l.pieces, Whole: l.whole,
			Bytes: l.bytes, Granted: l.granted, Moved: l.moved,
		})
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

// PeerView is one peer, attached or banned or both. Its key is its ID.
type PeerView struct {
	// Peer has no more than an ID unless Attached.
	Peer     Peer
	Attached bool
	Since    time.Time // when it attached
	// Swarms are those it is a member of, Missing those of them in which it
	// still misses something.
	Swarms, Missing int
	Leases          int
	// Accusers is how many blame it for false bytes; DoubtedUntil is how
	// long what it claims to have does not count.
	Accusers     int
	DoubtedUntil time.Time
	Ban          *Ban // nil: not banned
	Traffic      Traffic
}

// ViewPeers is a page of the peers, by ID: those attached, and those banned.
func (s *Scheduler) ViewPeers(now time.Time, p Page) (page []PeerView, more bool) {
	all := func(yield func(PeerID) bool) {
		for id := range s.peers {
			if !yield(id) {
				return
			}
		}
		for id, b := range s.banned {
			if s.peers[id] == nil && now.Before(b.Until) && !yield(id) {
				return
			}
		}
	}
	ids, more := take(p, all, func(id PeerID) bool { return id > PeerID(p.After) }, cmp.Compare[PeerID])
	page = make([]PeerView, 0, len(ids))
	for _, id := range ids {
		v, _ := s.viewPeer(now, id)
		page = append(page, v)
	}
	return page, more
}

// viewPeer shows a peer; false if nothing is known of it.
func (s *Scheduler) viewPeer(now time.Time, id PeerID) (PeerView, bool) {
	n, ban := s.peers[id], s.ViewBan(now, id)
	v := PeerView{Peer: Peer{ID: id}, Ban: ban}
	if n == nil {
		return v, ban != nil
	}
	v.Peer, v.Attached, v.Since = n.peer, true, n.since
	v.Peer.Addrs = slices.Clone(n.peer.Addrs)
	v.Swarms, v.Leases, v.Traffic = len(n.members), n.leases, n.traffic
	for _, m := range n.members {
		if !m.complete {
			v.Missing++
		}
	}
	if now.Before(n.doubted) {
		v.Accusers, v.DoubtedUntil = len(n.accusers), n.doubted
	}
	return v, true
}

// PeerDetail is one peer with the swarms that it is a member of.
type PeerDetail struct {
	PeerView
	AccusedBy []PeerID // sorted
	// Memberships are by digest, as many as are shown of one peer at most;
	// More says that there are others.
	Memberships []MembershipView
	More        bool
}

// MembershipView is a peer's standing in one swarm.
type MembershipView struct {
	Digest     piece.Digest
	Size       int64
	Pieces     int
	Have       int
	Leases     int
	Neighbours int
	Traffic    Traffic
}

// ViewPeer shows one peer; false if nothing is known of it.
func (s *Scheduler) ViewPeer(now time.Time, id PeerID) (PeerDetail, bool) {
	v, ok := s.viewPeer(now, id)
	d := PeerDetail{PeerView: v}
	n := s.peers[id]
	if n == nil {
		return d, ok
	}
	if v.Accusers > 0 {
		d.AccusedBy = slices.Sorted(maps.Keys(n.accusers))
	}
	d.More = len(n.members) > swarmsMost
	for _, m := range n.members[:min(len(n.members), swarmsMost)] {
		d.Memberships = append(d.Memberships, MembershipView{
			Digest: m.swarm.digest, Size: m.swarm.size, Pieces: len(m.swarm.holders), Have: m.have.Count(),
			Leases: m.leases, Neighbours: len(m.edges), Traffic: m.traffic,
		})
	}
	slices.SortFunc(d.Memberships, func(a, b MembershipView) int { return slices.Compare(a.Digest[:], b.Digest[:]) })
	return d, true
}
