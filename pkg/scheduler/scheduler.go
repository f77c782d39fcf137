package scheduler

import (
	"math/rand/v2"
	"time"
	"unique"

	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// settleTime is how long after its first member a swarm gives no member
	// a second lease: in a flash crowd others come within milliseconds and
	// can read beside it. A node alone loses little by it.
	settleTime = 30 * time.Millisecond
	// passOver is how long a member whose lease failed gets no other one
	// for that blob, while there are others.
	passOver = 3 * time.Second
	// retryAlone replaces it when there is nobody else, times the failures
	// in a row, and at most passOver: a registry that fails once is asked
	// again soon, as containerd would.
	retryAlone = 250 * time.Millisecond
	// shunPair is how long two peers of which one blamed the other are not
	// introduced again.
	shunPair = 30 * time.Second
	// reconcileAfter is how long at the least, where one of them has nobody else
	// and gave the other no false bytes.
	reconcileAfter = 3 * time.Second
	// defaultBackoff is how long an origin that said 429 or 503 without a
	// time is left alone; maxBackoff bounds what it may ask for.
	defaultBackoff = time.Second
	maxBackoff     = time.Minute
)

// Scheduler is the state of all swarms. It is driven by Step alone and is not
// safe for concurrent use. Equal configurations and events give equal
// decisions.
type Scheduler struct {
	cfg    Config
	rng    *rand.Rand
	peers  map[PeerID]*node
	swarms map[piece.Digest]*swarm
	// working are the stocks that time can change: those with leases or
	// with pieces that nobody has. A slice, so that its order is repeatable.
	working []*stock
	hosts   map[string]*host
	// hungry are stocks without a lease whose host has no budget left, the
	// one that waits longest first.
	hungry []*stock
	// banned are the peers that no swarm takes, until when, and why. It
	// outlives their streams: else a liar would only have to come back.
	banned map[PeerID]Ban
	// lifted is when operators lifted bans.
	lifted map[PeerID]time.Time
	// blamers are whom each peer has blamed for false bytes of late.
	blamers map[PeerID]*blamer
	// confessors are those that said of late that they read falsely, and when.
	confessors map[PeerID]time.Time
	// fedLast is which nodes told of bytes from peers, begun which began to want any.
	fedLast, begun lately
	// reporting is how many nodes miss something, and so report.
	reporting int
	next      LeaseID
	stats     Stats

	// For the length of one Step:
	now    time.Time
	out    []Decision
	intros []*pendingIntro
	fed    bool // hungry stocks have had what there is

	// Kept from one Step for the next, so that a crowd costs less memory:
	spares    []*pendingIntro
	known     []*member
	near      [][]*member
	picks     []Pick[*member]
	lastFound found
	inWords   string // lastFound
}

// node is one peer over all its swarms.
type node struct {
	peer    Peer
	zone    unique.Handle[string] // the peer's, as a word that is compared at once
	since   time.Time             // when it attached
	members []*member             // in the order in which it joined
	leases  int
	// missing is in how many of its swarms it misses something; every is how often
	// it was told to report then, 0 if it was not.
	missing int
	every   time.Duration
	traffic Traffic
	// fed is when it last told of bytes from another peer. cutOff: it has had
	// none for long where others have all that it misses.
	fed    time.Time
	cutOff bool
	intake intake
	// noTrial: until then it need not try whether the registry is faster.
	noTrial time.Time
	// accusers blame it for false bytes; what it claims is in doubt until
	// doubted.
	accusers map[PeerID]bool
	doubted  time.Time
	// gone: its stream has ended, and it is leaving its swarms one by one.
	gone bool
}

// host is one origin registry.
type host struct {
	leases int
	// forgotten: it is another one that has its name now.
	forgotten bool
	bytes     int64     // that leases on it brought
	until     time.Time // no grants before: it asked to be left alone
	rate      float64   // bytes a second that a lease usually gets; 0: not known
	width     width     // how many reads of one blob it deserves
}

// New makes an empty scheduler.
func New(cfg Config) *Scheduler {
	cfg = cfg.withDefaults()
	return &Scheduler{
		cfg:    cfg,
		rng:    rand.New(rand.NewPCG(cfg.Seed, 0xda3e39cb94b95bdb)),
		peers:  make(map[PeerID]*node),
		swarms: make(map[piece.Digest]*swarm),
		hosts:  make(map[string]*host),
		banned: make(map[PeerID]Ban), lifted: make(map[PeerID]time.Time), blamers: make(map[PeerID]*blamer),
		confessors: make(map[PeerID]time.Time),
		next:       cfg.FirstLease,
	}
}

// Step takes one event at a time and returns what follows from it. Time must
// not run backwards. The caller owns the result.
func (s *Scheduler) Step(now time.Time, e Event) []Decision {
	s.now, s.out, s.fed = now, nil, false
	switch e := e.(type) {
	case PeerUp:
		s.peerUp(e)
	case PeerDown:
		s.peerDown(e)
	case Join:
		s.join(e)
	case Leave:
		s.leave(e)
	case Summary:
		s.summary(e)
	case Blame:
		s.blame(e)
	case LeaseEnd:
		s.leaseEnd(e)
	case Dispute:
		s.dispute(e)
	case BanPeer:
		s.banPeer(e)
	case UnbanPeer:
		s.unbanPeer(e)
	case Tick:
		s.tick()
	}
	s.flushIntros()
	s.count()
	return s.out
}

func (s *Scheduler) decide(d Decision) { s.out = append(s.out, d) }

func (s *Scheduler) peerUp(e PeerUp) {
	if n := s.peers[e.Peer.ID]; n != nil {
		for _, m := range n.members {
			s.ungate(m)
			m.unsettle()
		}
		n.peer, n.zone = e.Peer, unique.Make(e.Peer.Zone)
		for _, m := range n.members { // all of them, before what they free is leased again
			if m.swarm.split && m.stock.zone != e.Peer.Zone {
				s.takeBack(m, "it is in another zone now")
			}
		}
		for _, m := range n.members {
			m.settle()
			s.restock(m)
			s.gate(m)
		}
		return
	}
	s.peers[e.Peer.ID] = &node{peer: e.Peer, zone: unique.Make(e.Peer.Zone), since: s.now}
	s.tellBans(e.Peer.ID)
}

func (s *Scheduler) peerDown(e PeerDown) {
	n := s.peers[e.Peer]
	if n == nil {
		return
	}
	n.gone = true // what it frees here must not be given to it there
	for len(n.members) > 0 {
		m := n.members[len(n.members)-1]
		s.remove(m, "its connection to the scheduler ended")
	}
	delete(s.peers, e.Peer)
}

func (s *Scheduler) leave(e Leave) {
	if m := s.member(e.Peer, e.Digest); m != nil {
		s.remove(m, "it left the swarm")
		s.judge(m)
	}
}

func (s *Scheduler) join(e Join) {
	n := s.peers[e.Peer]
	if n == nil || s.now.Before(s.banned[e.Peer].Until) {
		return
	}
	for _, b := range e.Blobs {
		sw := s.swarms[b.Digest]
		if (sw == nil || sw.members[n] == nil) && !s.crowded(n) {
			continue // it does without the scheduler
		}
		if sw = s.swarms[b.Digest]; sw == nil { // it may have made room here
			sw = newSwarm(b.Digest, s.now, s.cfg.OriginNearer)
			s.swarms[b.Digest] = sw
			if b.Moved {
				sw.until = s.now.Add(movedHold)
			}
		}
		s.partZones(sw)
		m, fresh := sw.members[n], false
		if m == nil {
			m, fresh = s.enter(sw, n), true
		}
		m.origin, m.host, m.patient = b.Origin, s.hosts[b.Origin], b.Patient
		s.learn(sw, m, b.Size, &b.Have)
		s.ticket(m)
		for _, l := range b.Leases {
			s.adopt(sw, m, l)
		}
		if !m.complete {
			s.wants(n)
		}
		if fresh {
			s.connect(m)
		} else if b.Size == SizeUnknown && sw.size != SizeUnknown {
			s.introduce(m, nil, "the swarm knows the size")
		}
		s.grant(m.stock)
		if n.cutOff || s.forsaken(m) {
			s.lendHeld(m, nothingCame)
		}
	}
	s.setInterval(n)
}

func (s *Scheduler) summary(e Summary) {
	s.takeIn(e)
	for i := range e.Blobs {
		b := &e.Blobs[i]
		m := s.member(e.Peer, b.Digest)
		if m == nil {
			continue
		}
		s.learn(m.swarm, m, b.Size, &b.Have)
		if s.now.Sub(m.ticketed) >= TicketRenew {
			s.ticket(m)
		}
		for _, l := range b.Leases {
			m.renew(l, s.now)
		}
		s.credits(m, b.Rates)
		s.rewire(m, b.Rates)
		s.widen(m.stock)
		s.grant(m.stock)
		if b.Stalled && !m.complete {
			s.rescue(m)
		} else if len(b.Rates) > 0 && s.crawls(m) {
			if l := s.lendRun(m, 1, tooSlowly); l != nil {
				l.trial = true
			}
		}
		if m.have.Count() > m.stalledAt { // that it does not call is no progress: summaries come in between
			m.stalled = time.Time{}
		}
	}
	if n := s.peers[e.Peer]; n != nil {
		s.setInterval(n)
	}
}

// tick lets time work on the swarms that it can change.
func (s *Scheduler) tick() {
	for i := len(s.working) - 1; i >= 0; i-- {
		st := s.working[i]
		s.expire(st)
		s.grant(st)
	}
}

func (s *Scheduler) member(p PeerID, d piece.Digest) *member {
	if sw := s.swarms[d]; sw != nil {
		return s.memberOf(sw, p)
	}
	return nil
}

// memberOf is that peer's standing in sw; nil if it has none.
func (s *Scheduler) memberOf(sw *swarm, p PeerID) *member {
	if n := s.peers[p]; n != nil {
		return sw.members[n]
	}
	return nil
}
