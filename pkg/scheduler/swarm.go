package scheduler

import (
	"fmt"
	"iter"
	"slices"
	"time"
	"unique"

	"github.com/p2pd/p2pd/pkg/piece"
)

// swarm is the peers that hold or want one blob.
type swarm struct {
	digest piece.Digest
	born   time.Time
	until  time.Time // nothing new is leased before
	size   int64     // SizeUnknown until a member told it
	layout piece.Layout

	members map[*node]*member
	order   []*member // the same, for sampling; member.at is its place
	seeds   []*member // those that are complete
	near    map[place][]*member
	split   bool     // each zone has a stock of its own
	stocks  []*stock // of those that have members
	gates   []*gates
	// bridged: with split, zones have gateways until bridgedUntil, or later.
	bridged      bool
	bridgedUntil time.Time

	votes map[int64]int // members that say a size by themselves
	// disputed is when a member last said that the blob was false.
	disputed time.Time
	// gaveUp are some to whom it was false as they read it alone.
	gaveUp []PeerID
	// rangeless: the origin serves this blob from front to end only.
	rangeless bool
	traffic   Traffic
}

// place is a zone, or a rack in it.
type place struct{ zone, rack string }

// member is a peer's standing in one swarm.
type member struct {
	// What is looked at of each candidate for a neighbour stands first, and so in
	// few lines of the processor's cache: a join looks at hundreds.
	node  *node
	swarm *swarm
	// after is what its node joined next. Nodes that pull one image join its layers
	// in the same order: who is a neighbour in one of them is found in the next by
	// that, without a look at all of its members.
	after    *member
	zone     unique.Handle[string] // its node's
	edges    []*member
	shunned  map[PeerID]shunning
	size     int64 // what it said by itself, if it has voted
	voted    bool
	complete bool
	gate     bool // one of its zone's gateways
	doubted  bool // have does not count
	knows    bool // has been told the size, or told it
	patient  bool // nobody waits for the blob there
	disputes bool // the blob was false with what it had of others
	settled  bool // and is right by now
	// confessed: pieces that it read first itself were false. charges are those that
	// say so of it, until it is known.
	confessed bool
	charges   []PeerID
	// outruns: a trial has shown that the registry is faster than all others.
	outruns bool

	at      int
	stock   *stock
	since   time.Time // when it joined
	whole   time.Time // since when it is complete
	have    piece.Bitfield
	origin  string
	host    *host // origin's, once a lease on it was given
	leases  int
	skip    time.Time      // no lease before
	failed  int            // leases in a row
	idle    map[PeerID]int // summaries in a row without a byte from it
	rewired time.Time
	// ticketed is when it was last given a ticket.
	ticketed time.Time
	missed   int // how often others could not reach it
	traffic  Traffic
	intro    *pendingIntro
	// stalled is since when it has called for help in vain, and stalledAt how
	// many pieces it had then.
	stalled   time.Time
	stalledAt int
}

func newSwarm(d piece.Digest, now time.Time, split bool) *swarm {
	return &swarm{
		digest: d, born: now, size: SizeUnknown, split: split,
		members: make(map[*node]*member), near: make(map[place][]*member),
	}
}

// places are where a member is near others: its rack, then its zone.
func (m *member) places() iter.Seq[place] {
	return func(yield func(place) bool) {
		p := &m.node.peer
		if p.Rack != "" && !yield(place{p.Zone, p.Rack}) {
			return
		}
		if p.Zone != "" || m.swarm.split {
			yield(place{p.Zone, ""})
		}
	}
}

// settle lists m where it is; unsettle takes it off again.
func (m *member) settle() {
	m.zone = m.node.zone
	near := m.swarm.near
	for p := range m.places() {
		near[p] = append(near[p], m)
	}
}

func (m *member) unsettle() {
	near := m.swarm.near
	for p := range m.places() {
		if near[p] = without(near[p], m); len(near[p]) == 0 {
			delete(near, p)
		}
	}
}

// enter makes a peer a member.
func (s *Scheduler) enter(sw *swarm, n *node) *member {
	m := &member{node: n, swarm: sw, at: len(sw.order), since: s.now, doubted: s.now.Before(n.doubted)}
	m.stock = s.stockOf(sw, n)
	sw.members[n] = m
	sw.order = append(sw.order, m)
	m.settle()
	n.enlist(m)
	s.misses(n)
	s.stats.Members++
	return m
}

// enlist adds a membership to its node's, and strike takes one off; both see to
// member.after.
func (n *node) enlist(m *member) {
	if len(n.members) > 0 {
		n.members[len(n.members)-1].after = m
	}
	n.members = append(n.members, m)
}

func (n *node) strike(m *member) {
	i := slices.Index(n.members, m)
	if i > 0 {
		n.members[i-1].after = m.after
	}
	m.after = nil
	n.members = slices.Delete(n.members, i, i+1)
}

// remove ends a membership: its pieces no longer count, its leases are free,
// and those who were its neighbours are told and given others.
func (s *Scheduler) remove(m *member, why string) {
	sw := m.swarm
	for _, l := range slices.Clone(m.stock.leases) {
		if l.holder == m {
			s.release(l)
		}
	}
	for i := range m.have.All() {
		m.lost(i)
	}
	s.ungate(m)
	m.unvote()
	last := sw.order[len(sw.order)-1]
	sw.order[m.at], last.at = last, m.at
	sw.order = sw.order[:len(sw.order)-1]
	delete(sw.members, m.node)
	sw.seeds = without(sw.seeds, m)
	m.unsettle()
	m.node.strike(m)
	if !m.complete {
		s.hasAll(m.node)
	}
	s.stats.Members--

	bereft := m.edges
	m.edges = nil
	for _, o := range bereft {
		o.unlink(m)
		if !o.complete {
			s.decide(Part{To: o.node.peer.ID, Digest: sw.digest, Peers: []PeerID{m.node.peer.ID}, Reason: why})
		}
	}
	for _, o := range bereft {
		s.topUp(o)
	}
	if len(sw.order) == 0 {
		delete(s.swarms, sw.digest)
	}
	s.granted(m.stock)
}

// turnOut removes a member that does not go by itself: it must stop reading what
// is free for others from now on.
func (s *Scheduler) turnOut(m *member, why string) {
	s.takeBack(m, why)
	s.remove(m, why)
}

// takeBack ends all leases of a member, and tells it.
func (s *Scheduler) takeBack(m *member, why string) {
	for _, l := range slices.Clone(m.stock.leases) {
		if l.holder == m {
			s.release(l)
			s.revoke(l, why)
		}
	}
}

func without(ms []*member, m *member) []*member {
	if i := slices.Index(ms, m); i >= 0 {
		return slices.Delete(ms, i, i+1)
	}
	return ms
}

// learn takes what a member says of the blob's size and of its pieces. A size
// other than the swarm's is not believed.
func (s *Scheduler) learn(sw *swarm, m *member, size int64, have *piece.Bitfield) {
	if size == SizeUnknown {
		return
	}
	s.trust(m)
	m.vote(size)
	told := m.knows
	m.knows = true
	if sw.size == SizeUnknown && !s.resize(sw, size) {
		m.knows = told
		m.unvote()
		return
	}
	if size != sw.size && !s.outvoted(sw, size) {
		s.stats.SizeConflicts++
		return
	}
	if have.Len() != sw.layout.Count() {
		return
	}
	if m.have.Len() == 0 {
		m.have = piece.NewBitfield(have.Len())
	}
	for i := range have.All() {
		if m.have.Set(i) {
			m.holds(i)
		}
	}
	if m.have.Count() > have.Count() { // it lost some
		old := m.have.Clone()
		for i := range old.All() {
			if !have.Has(i) {
				m.have.Clear(i)
				m.lost(i)
			}
		}
	}
	s.complete(m, m.have.Full())
}

func (s *Scheduler) complete(m *member, is bool) {
	if m.complete == is {
		return
	}
	m.complete = is
	if !is {
		s.misses(m.node)
		m.swarm.seeds = without(m.swarm.seeds, m)
		s.topUp(m) // as a seed it needed nobody
		return
	}
	s.hasAll(m.node)
	m.swarm.seeds = append(m.swarm.seeds, m)
	m.whole = s.now
	m.idle, m.shunned = nil, nil
	// Two seeds have nothing for each other. Their edge would only take the
	// place of somebody who comes later, until all seeds were full.
	for _, o := range slices.Clone(m.edges) {
		if o.complete {
			s.cut(m, o, "both have all")
		}
	}
}

// resize makes the swarm one of a known size, and tells those who wait for it.
func (s *Scheduler) resize(sw *swarm, size int64) bool {
	layout, err := piece.NewLayout(size)
	if err != nil {
		s.stats.SizeConflicts++
		return false
	}
	sw.size, sw.layout = size, layout
	for _, st := range sw.stocks {
		st.reset()
		s.watch(st)
	}
	for _, m := range sw.order {
		if !m.knows {
			m.knows = true
			s.introduce(m, nil, fmt.Sprintf("the blob has %d bytes", size))
		}
	}
	return true
}
