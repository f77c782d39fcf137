package access

import "sync/atomic"

// Stats counts since the gate was made. Requests that ended before a decision
// are in none.
type Stats struct {
	Allowed     uint64 // requests that may have content
	Challenged  uint64 // that must bring a credential
	Refused     uint64 // that the origin refused
	Unavailable uint64 // that could not be decided
	Asked       uint64 // questions at origins
	Failed      uint64 // of them, those without an answer
	Recalled    uint64 // answers of other nodes, that something was public
}

type counters struct {
	allowed, challenged, refused, unavailable, asked, failed, recalled atomic.Uint64
}

// Stats is a copy of the counters.
func (g *Gate) Stats() Stats {
	c := &g.stats
	return Stats{
		Allowed: c.allowed.Load(), Challenged: c.challenged.Load(), Refused: c.refused.Load(),
		Unavailable: c.unavailable.Load(), Asked: c.asked.Load(), Failed: c.failed.Load(), Recalled: c.recalled.Load(),
	}
}
