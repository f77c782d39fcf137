package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Dispute says that the pieces that a peer had of others did not add up to the
// blob. It has told before what it keeps, takes what it misses only of members
// that are proven to have it whole, and else must be leased it.
type Dispute struct {
	Peer   PeerID
	Digest piece.Digest
	// Settled says that the blob is right now. Pieces are those that were false,
	// in rising order.
	Settled bool
	Pieces  []int
	// Misread says that the peer read some of them from the origin itself; unless
	// settled, that it has read all of the blob itself, that it is false, and that it
	// gives it up.
	Misread bool
}

func (Dispute) event() {}

const (
	// repairersMost is how many members of a swarm may read at once what others
	// claim to have, after a false blob. As soon as one is through the others
	// compare, and fetch of it what differs: a second is there for when the
	// first is slow.
	repairersMost = 2
	// disputeLasts is how long the first readers of a disputed blob are
	// remembered in any case: what is read in that time repairs it.
	disputeLasts = 5 * time.Minute
	// provenAfter is how long a member must have been complete to have it checked:
	// else it would have left the swarm, or disputes the blob itself.
	provenAfter = 10 * time.Second
	// confessorsMost is how many peers are put out within doubtFor because they say
	// themselves that they read falsely. Where more do it is the registry that was
	// wrong, and without all of them nobody would be left to share with.
	confessorsMost = 3
)

const falseBlob = OthersHaveIt + "the blob was false with what it had of them"

// dispute takes a member's word that it distrusts its swarm, or which pieces were
// false.
func (s *Scheduler) dispute(e Dispute) {
	m := s.member(e.Peer, e.Digest)
	if m == nil {
		return
	}
	s.stats.Disputes++
	if !e.Settled && e.Misread {
		s.gaveUp(m)
		return
	}
	if !e.Settled {
		m.disputes, m.settled, m.swarm.disputed = true, false, s.now
		return
	}
	m.settled = m.disputes
	m.disputes = false
	readers := make(map[PeerID]bool)
	for _, i := range e.Pieces {
		if i >= 0 && i < len(m.stock.readBy) && m.stock.readBy[i] != "" {
			readers[m.stock.readBy[i]] = true
		}
	}
	m.confessed = readers[e.Peer]
	s.judge(m)
	for _, by := range slices.Sorted(maps.Keys(readers)) {
		if n := s.peers[by]; n != nil && by != e.Peer {
			s.charge(n, m)
		}
	}
	sw := m.swarm
	if e.Misread {
		s.confess(e.Peer)
	}
	for _, p := range sw.gaveUp {
		s.confess(p)
	}
	sw.gaveUp = nil
}

// gaveUp is for a member to which the blob is false as it reads it alone. If another
// has it right, or gets it right, that is the same as to confess; else it may be the
// registry that is wrong.
func (s *Scheduler) gaveUp(m *member) {
	sw, p := m.swarm, m.node.peer.ID
	if slices.ContainsFunc(sw.seeds, func(o *member) bool { return o != m && o.settled && !o.doubted }) {
		s.confess(p)
	} else if len(sw.gaveUp) < confessorsMost && !slices.Contains(sw.gaveUp, p) {
		sw.gaveUp = append(sw.gaveUp, p)
	}
}

// confess puts a peer out that says itself that it read falsely. Its word is enough,
// for nobody else can give it: it counts also where the pieces were read before the
// swarm came to this scheduler, which does not know by whom.
func (s *Scheduler) confess(p PeerID) {
	maps.DeleteFunc(s.confessors, func(_ PeerID, at time.Time) bool { return s.now.Sub(at) >= doubtFor })
	if _, again := s.confessors[p]; !again && len(s.confessors) >= confessorsMost {
		s.stats.DoubtfulBlames++
		return
	}
	s.confessors[p] = s.now
	if !s.now.Before(s.banned[p].Until) {
		s.banLiar(p, "it says that it has read false bytes from the registry")
	}
}

// charge takes by's word that what n read first was false. It may have been read
// rightly, and changed by a liar on the way: that shows in whether n itself has the
// blob right with it. Until n has got so far the charge waits.
func (s *Scheduler) charge(n *node, by *member) {
	m := by.swarm.members[n]
	switch {
	case m == nil || m.confessed: // it has given the blob up, or found the same
		s.accuse(n, by.node.peer.ID)
	case m.settled || m.complete: // it has the blob right with what it read
	case len(m.charges) < accusersNeeded && !slices.Contains(m.charges, by.node.peer.ID):
		m.charges = append(m.charges, by.node.peer.ID)
	}
}

// judge is for when a member has the blob right, or gives it up: charges that wait
// for that are void, or count.
func (s *Scheduler) judge(m *member) {
	charges := m.charges
	m.charges = nil
	if !m.confessed && (m.settled || m.complete) {
		return
	}
	for _, by := range charges {
		s.accuse(m.node, by)
	}
}

// attribute notes who read the pieces of a lease from the origin, when nobody had
// them. While a blob is disputed that stands: later readers repair it.
func (s *Scheduler) attribute(l *lease) {
	st, disputed := l.stock, l.stock.swarm.disputed
	if l.held || !disputed.IsZero() && s.now.Sub(disputed) < disputeLasts {
		return
	}
	if len(st.readBy) != len(st.holders) {
		st.readBy = make([]PeerID, len(st.holders))
	}
	for i := l.pieces.First; i < l.pieces.End; i++ {
		if l.holder.have.Has(i) {
			st.readBy[i] = l.holder.node.peer.ID
		}
	}
}

// repair introduces a member that disputes the blob to some that are proven to
// have it whole, or lets it read it, unless others do.
func (s *Scheduler) repair(m *member) {
	if m.complete {
		return
	}
	if proven := s.meetProven(m); len(proven) > 0 {
		s.decide(Introduce{
			To: m.node.peer.ID, Digest: m.swarm.digest, Size: m.swarm.size, Share: m.share(),
			Peers: addresses(proven), Proven: true, Reason: "the blob was false, and these have it whole",
		})
		return
	}
	others := make(map[*member]bool)
	for _, l := range m.stock.leases {
		if l.holder != m && l.holder.disputes {
			others[l.holder] = true
		}
	}
	if len(others) < repairersMost && s.lendHeld(m, falseBlob) {
		return
	}
	s.wait(m, len(m.swarm.seeds))
}

// meetProven makes m a neighbour of one member that is proven to have the blob
// whole, if it has none yet, and returns those that it has. Who has settled a
// dispute is believed before who was complete long before it. Where m cannot be lent
// what it misses, for want of an origin or of ranges there, who was complete long since
// will do.
func (s *Scheduler) meetProven(m *member) (proven []*node) {
	before := func(t time.Time) func(*member) bool {
		return func(o *member) bool { return o.complete && !o.doubted && o.whole.Add(provenAfter).Before(t) }
	}
	tests := []func(*member) bool{
		func(o *member) bool { return o.settled && o.complete && !o.doubted },
		before(m.swarm.disputed),
	}
	if m.origin == "" || m.swarm.rangeless {
		tests = append(tests, before(s.now))
	}
	for _, is := range tests {
		var strangers []*member
		for _, o := range m.swarm.seeds {
			switch {
			case !is(o):
			case slices.Contains(m.edges, o):
				proven = append(proven, o.node)
			default:
				strangers = append(strangers, o)
			}
		}
		if len(proven) == 0 && s.link(m, strangers, 1, "it has the whole blob") > 0 {
			proven = append(proven, m.edges[len(m.edges)-1].node)
		}
		if len(proven) > 0 {
			return proven
		}
	}
	return nil
}
