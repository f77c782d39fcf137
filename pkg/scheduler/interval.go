package scheduler

import (
	"fmt"
	"time"
)

// A summary costs a scheduler the same whoever sends it, so a large crowd sends
// each less often: what all of them tell in a second stays about the same. What
// cannot wait does not: a peer that stalls says so at once, and one that does, or
// has a lease, tells of all its downloads every SummaryEvery.

const (
	// SummaryEvery is how often a peer tells of its running downloads, unless a
	// SummaryInterval said otherwise.
	SummaryEvery = time.Second
	// MaxSummaryEvery bounds what a SummaryInterval may ask for.
	MaxSummaryEvery = 8 * time.Second
	// summariesPerSecond is about how many a scheduler wants to hear. Each takes
	// some 70 µs of a core, the wire included.
	summariesPerSecond = 2500
)

// SummaryInterval asks To to tell of its running downloads less often, or more
// often again. It stands until the next one, or the end of its stream. A peer of
// several schedulers goes by the longest.
type SummaryInterval struct {
	To     PeerID
	Every  time.Duration
	Reason string
}

// Recipient implements Decision.
func (d SummaryInterval) Recipient() PeerID { return d.To }

// Why implements Decision.
func (d SummaryInterval) Why() string { return d.Reason }

// intervalFor is the interval for so many peers that report: the least power of
// two, in SummaryEvery, that keeps them within summariesPerSecond.
func intervalFor(peers int) time.Duration {
	every := SummaryEvery
	for every < MaxSummaryEvery && float64(peers) > summariesPerSecond*every.Seconds() {
		every *= 2
	}
	return every
}

// misses counts a membership in which something is missing; hasAll takes it off
// again. Who misses nothing reports nothing.
func (s *Scheduler) misses(n *node) {
	if n.missing++; n.missing == 1 {
		s.reporting++
	}
}

func (s *Scheduler) hasAll(n *node) {
	if n.missing--; n.missing == 0 {
		s.reporting--
	}
}

// setInterval tells a node how often to report, if that is not what it does. An
// interval is shortened only when a quarter of the crowd more than fits it is gone,
// so that a few who come and go change nothing.
func (s *Scheduler) setInterval(n *node) {
	if n.missing == 0 {
		return
	}
	every, now := intervalFor(s.reporting), n.interval()
	if every < now {
		every = min(now, intervalFor(s.reporting+s.reporting/3))
	}
	if every == now {
		return
	}
	n.every = every
	s.decide(SummaryInterval{To: n.peer.ID, Every: every, Reason: fmt.Sprintf("so many report that each does every %v", every)})
}

// interval is how often n reports.
func (n *node) interval() time.Duration { return max(n.every, SummaryEvery) }

// slack is how much longer than each SummaryEvery n may be silent.
func (n *node) slack() time.Duration { return n.interval() - SummaryEvery }
