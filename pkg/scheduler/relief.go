package scheduler

import "time"

// When what a member misses is held by others, and does not come, or hardly, its
// node is better off with the registry: it is leased what others have. Three
// things show it. Nobody may be introduced to the member (it is forsaken). Its node
// has had no byte from anybody for some time (it is cut off). Or it has its bytes
// far slower from all peers together than the registry gives them to one reader
// (it crawls); whether peers are slow then, or its own line, shows when it reads
// one piece. None of it counts while others read, or peers feed others: those
// members wait for their turn (docs/adr/0013).
const (
	// cutOffAfter is how long a node may tell of no byte from any peer until it is
	// taken to be cut off. It is a little less than three of its calls for help
	// take.
	cutOffAfter = 1400 * time.Millisecond
	// cutOffAnyway is the same where others read what others have, who are cut
	// off as well: the first of them may feed the rest.
	cutOffAnyway = 3 * time.Second
	// crawlFactor is how many times slower than one lease its peers must be for a
	// node to crawl. A lone node has several leases at once, so it gains even from
	// peers that are as fast as one; only much of that is worth the registry's line.
	crawlFactor = 2
	// crawlLeft: a blob that will be there within this is left alone.
	crawlLeft = 2 * time.Second
	// trialFactor is how many times faster than from its peers the piece must come
	// that a node which crawls may try.
	trialFactor = 2
	// trialAgain is how long a node is left alone for which it did not.
	trialAgain = 30 * time.Second
)

// OthersHaveIt begins the reason of each Grant of pieces that others have.
const OthersHaveIt = "others have it, but "

// Why members are leased what others have.
const (
	notComing   = OthersHaveIt + "it does not come"
	nothingCame = OthersHaveIt + "it has had nothing from anybody"
	tooSlowly   = OthersHaveIt + "bring it far slower than the registry should"
	farFaster   = OthersHaveIt + "the registry is far faster than they are"
)

// noticeCutOff reports whether m's node is cut off from all peers. It stays so
// until it tells of bytes from one of them.
func (s *Scheduler) noticeCutOff(m *member) bool {
	n := m.node
	last := m.since
	if n.fed.After(last) {
		last = n.fed
	}
	if n.slack() > 0 && m.stalled.After(last) { // until it called it told too seldom to go by
		last = m.stalled
	}
	all, held := s.reading(m)
	long := s.now.Sub(last)
	if m.stock.free == 0 && (long >= cutOffAfter && all == 0 || long >= cutOffAnyway && all == held) && !s.othersFed(n) {
		n.cutOff = true
	}
	return n.cutOff
}

// forsaken reports whether nobody may be introduced to m, although others have all
// that it misses: they are shunned, or it is.
func (s *Scheduler) forsaken(m *member) bool {
	all, _ := s.reading(m)
	return len(m.edges) == 0 && !m.complete && m.swarm.size != SizeUnknown && m.stock.free == 0 && all == 0
}

// crawls reports whether m's node gets what others have so slowly from them that
// one piece from the registry is worth a try.
func (s *Scheduler) crawls(m *member) bool {
	in, sw, h := &m.node.intake, m.swarm, s.hostOf(m)
	if !in.known || m.complete || m.patient || m.leases > 0 || h == nil || h.rate == 0 || sw.size == SizeUnknown || s.now.Before(m.node.noTrial) {
		return false
	}
	left := float64(sw.layout.Count()-m.have.Count()) * float64(sw.layout.PieceSize())
	if in.rate*crawlFactor > h.rate || left < in.rate*crawlLeft.Seconds() {
		return false
	}
	all, _ := s.reading(m)
	return m.stock.free == 0 && all == 0 && !s.othersFed(m.node) && !s.othersBegan(m.node)
}

// relieved goes on once a lease on what others have is done: a trial is judged,
// and whoever is better off with the registry gets more.
func (s *Scheduler) relieved(m *member, l *lease) {
	n := m.node
	if l.trial {
		_, span := l.stock.swarm.layout.Span(l.pieces)
		if float64(span) < trialFactor*n.intake.rate*s.now.Sub(l.granted).Seconds() {
			n.noTrial = s.now.Add(trialAgain)
			return
		}
		m.outruns = true
		n.cutOff = n.intake.rate == 0
	}
	switch {
	case m.disputes:
		s.repair(m)
	case n.cutOff:
		s.lendHeld(m, nothingCame)
	case m.outruns:
		s.lendHeld(m, farFaster)
	}
}

// lendHeld leases what a member misses although others have it, as much as it
// may read at once, and reports whether that is anything.
func (s *Scheduler) lendHeld(m *member, why string) bool {
	sw := m.swarm
	if sw.size == SizeUnknown || m.complete {
		return false
	}
	missing := sw.layout.Count() - m.have.Count()
	most := max(1, min(missing/(2*s.cfg.LeasesPerBlob), int(s.cfg.LeaseBytes/sw.layout.PieceSize())))
	for m.leases < s.cfg.LeasesPerBlob && s.lendRun(m, most, why) != nil {
		continue
	}
	return m.leases > 0
}

// lendRun leases the first run of at most n pieces that m misses and nobody reads;
// nil if there is none, or it may not.
func (s *Scheduler) lendRun(m *member, n int, why string) *lease {
	sw := m.swarm
	if sw.rangeless || !s.mayHold(m) {
		return nil
	}
	run := firstRun(sw.layout.Count(), n, func(i int) bool { return !m.have.Has(i) && !m.stock.leased.Has(i) })
	if run.Len() == 0 {
		return nil
	}
	return s.lend(m, run, false, why)
}
