package peer

import (
	"maps"
	"slices"
	"sync"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// maxAcquaintances bounds the peers that are remembered.
	maxAcquaintances = 64
	// meetAlone is how many of them a download without a scheduler turns to:
	// as many as the scheduler would name.
	meetAlone = scheduler.DefaultNeighbours
	// crowdReads is about how many pieces a crowd reads from the origin at a
	// time. Were each of a hundred to read its own at once, all would come
	// late, and nobody had anything to pass on meanwhile.
	crowdReads = 16
)

// acquaintances are peers that were neighbours lately, in whatever swarm. When
// no scheduler introduces anybody, those who pull the same next are likely
// among them.
type acquaintances struct {
	mu    sync.Mutex // guards what follows
	peers map[scheduler.PeerID]scheduler.Peer
	order []scheduler.PeerID // who was noted last comes last
}

// note remembers a peer; the one that was not met for longest makes room.
func (a *acquaintances) note(p scheduler.Peer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.peers == nil {
		a.peers = make(map[scheduler.PeerID]scheduler.Peer)
	}
	a.drop(p.ID)
	if len(a.order) >= maxAcquaintances {
		a.drop(a.order[0])
	}
	a.peers[p.ID] = p
	a.order = append(a.order, p.ID)
}

// forget takes a peer out that does not answer.
func (a *acquaintances) forget(id scheduler.PeerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(id)
}

// drop takes a peer out; mu is held.
func (a *acquaintances) drop(id scheduler.PeerID) {
	if _, known := a.peers[id]; known {
		delete(a.peers, id)
		a.order = slices.DeleteFunc(a.order, func(o scheduler.PeerID) bool { return o == id })
	}
}

// all are those that are known, in an order that does not matter but is the
// same for the same ones.
func (a *acquaintances) all() []scheduler.Peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ps []scheduler.Peer
	for _, id := range slices.Sorted(maps.Keys(a.peers)) {
		ps = append(ps, a.peers[id])
	}
	return ps
}

// turnToAcquaintances asks peers met in other swarms whether they are in this
// one, for want of a scheduler. Those who join it later turn to us.
func (d *download) turnToAcquaintances() {
	if d.alone() || d.p.barred(d.ref.Digest) {
		return
	}
	known := d.p.acquainted.all()
	d.rng.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
	for _, p := range known {
		if len(d.neighbours) >= meetAlone {
			return
		}
		if d.neighbours[p.ID] != nil {
			continue
		}
		if n := d.meet(p); n != nil {
			d.offer(n, false)
		}
	}
}

// companions counts the neighbours that have answered: they share the origin
// with this peer, and have something or will.
func (d *download) companions() int {
	n := 0
	for _, x := range d.neighbours {
		if x.answered() {
			n++
		}
	}
	return n
}

// answered says that the neighbour is in the swarm, whether or not the size is
// known that its offer would be checked against.
func (n *neighbour) answered() bool { return n.open || n.pending != nil }

// readOwn reads from the origin what falls to this peer, up to most pieces at
// a time.
func (d *download) readOwn(most int) {
	for len(d.leases) < most {
		i, ok := d.ownPiece()
		if !ok {
			return
		}
		d.startLease(0, piece.Range{First: i, End: i + 1}, false)
	}
}

// ownPiece is the first missing piece from the front on that no neighbour has
// and that falls to this peer. The peers of a swarm that know each other count
// alike: each such piece falls to one of them. Of a large crowd only those read
// to whom one of the next few pieces falls.
func (d *download) ownPiece() (int, bool) {
	ahead := 0
	for _, from := range []int{d.front(), 0} {
		for i := range d.picker.Need.From(from) {
			if d.picker.Rarity[i] > 0 {
				continue
			}
			if d.falls(i) {
				return i, true
			}
			if ahead++; ahead >= crowdReads && d.crowded() {
				return 0, false
			}
		}
	}
	return 0, false
}

// falls reports whether piece i is this peer's to read from the origin.
func (d *download) falls(i int) bool {
	own := turnOrder(d.self, i)
	for _, f := range d.search.fellows {
		if !f.gone && turnOrder(f.order, i) < own {
			return false
		}
	}
	for _, n := range d.neighbours {
		if n.answered() && turnOrder(n.order, i) < own {
			return false
		}
	}
	return true
}
