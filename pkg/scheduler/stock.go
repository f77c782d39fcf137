package scheduler

import (
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// stock is what is known of a blob's pieces among some members of its swarm: how
// many of them hold each, and which are being read for them. A swarm has one of
// all its members. Where the origin is nearer than another zone
// (Config.OriginNearer) it has one of each zone, and a zone reads what it lacks,
// whatever others hold. Members of no known zone are one more.
type stock struct {
	swarm  *swarm
	zone   string    // empty where there is one stock only
	born   time.Time // when its first member came
	cursor int       // where the search for the next lease holder begins

	holders []int32        // how many members have each piece
	leased  piece.Bitfield // pieces that a lease covers
	held    int64          // the sum of holders
	free    int            // pieces that no member has and no lease covers
	leases  []*lease
	// readBy is who read each piece from the origin when nobody had it, as far as
	// that is known.
	readBy   []PeerID
	brought  time.Time // when a lease last brought bytes
	failures int       // leases that ended in vain since then
	working  int       // place in Scheduler.working, or -1
}

// stockOf is the stock of a swarm that a node counts in; it may be new.
func (s *Scheduler) stockOf(sw *swarm, n *node) *stock {
	zone := ""
	if sw.split {
		zone = n.peer.Zone
	}
	for _, st := range sw.stocks {
		if st.zone == zone {
			return st
		}
	}
	st := &stock{swarm: sw, zone: zone, born: s.now, working: -1}
	sw.stocks = append(sw.stocks, st)
	if sw.size != SizeUnknown {
		st.reset()
	}
	return st
}

// restock lets a member count in the stock of the zone that it is in now. It has no
// leases any more: they were for the other one.
func (s *Scheduler) restock(m *member) {
	old, now := m.stock, s.stockOf(m.swarm, m.node)
	if old == now {
		return
	}
	for i := range m.have.All() {
		m.lost(i)
	}
	m.stock = now
	for i := range m.have.All() {
		m.holds(i)
	}
	s.granted(old)
	s.granted(now)
}

// granted grants what a stock needs after a member came or went; it goes with
// its last one.
func (s *Scheduler) granted(st *stock) {
	if len(st.members()) > 0 {
		s.grant(st)
		return
	}
	s.rest(st)
	s.hungry = slices.DeleteFunc(s.hungry, func(o *stock) bool { return o == st })
	st.swarm.stocks = slices.DeleteFunc(st.swarm.stocks, func(o *stock) bool { return o == st })
}

// members are those that count in a stock. The list is the swarm's.
func (st *stock) members() []*member {
	if !st.swarm.split {
		return st.swarm.order
	}
	return st.swarm.near[place{st.zone, ""}]
}

// reset begins with nothing held, and nothing read but by leases on the whole
// blob, once the swarm knows its size.
func (st *stock) reset() {
	n := st.swarm.layout.Count()
	st.holders, st.leased = make([]int32, n), piece.NewBitfield(n)
	st.free, st.held = n, 0
	for _, l := range st.leases {
		l.pieces = piece.Range{First: 0, End: n}
		st.cover(l.pieces)
	}
}

// wanting reports whether there is anything to read from the origin.
func (st *stock) wanting() bool { return st.swarm.size == SizeUnknown || st.free > 0 }

// hold counts one more member that has piece i; drop one less.
func (st *stock) hold(i int) {
	st.held++
	if st.holders[i]++; st.holders[i] == 1 && !st.leased.Has(i) {
		st.free--
	}
}

func (st *stock) drop(i int) {
	st.held--
	if st.holders[i]--; st.holders[i] == 0 && !st.leased.Has(i) {
		st.free++
	}
}

// cover marks pieces as leased; uncover takes that back.
func (st *stock) cover(r piece.Range) {
	for i := r.First; i < r.End; i++ {
		if st.leased.Set(i) && st.holders[i] == 0 {
			st.free--
		}
	}
}

func (st *stock) uncover(r piece.Range) {
	for i := r.First; i < r.End; i++ {
		if st.leased.Clear(i) && st.holders[i] == 0 {
			st.free++
		}
	}
}

// watch has Tick go through a stock that time can change, and no other.
func (s *Scheduler) watch(st *stock) {
	if len(st.leases) > 0 || st.wanting() {
		s.work(st)
	} else {
		s.rest(st)
	}
}

// work puts a stock on the list that Tick goes through; rest takes it off.
func (s *Scheduler) work(st *stock) {
	if st.working < 0 {
		st.working = len(s.working)
		s.working = append(s.working, st)
	}
}

func (s *Scheduler) rest(st *stock) {
	if st.working < 0 {
		return
	}
	last := s.working[len(s.working)-1]
	s.working[st.working], last.working = last, st.working
	s.working = s.working[:len(s.working)-1]
	st.working = -1
}
