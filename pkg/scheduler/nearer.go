package scheduler

import (
	"cmp"
	"slices"
	"time"
)

// Where the origin is nearer than another zone (Config.OriginNearer), zones keep to
// themselves: each has a stock of its own, reads the blob once, and has no gateways.
// Only a zone that cannot read has use for the others. Then all zones of the swarm
// are bridged: they get gateways, as they would have without OriginNearer, and so
// what others hold comes into that zone about once, too. It may be that the registry
// is broken, that it sends everybody away, or that it bears no more leases.
const (
	// failuresMost is how many leases of a zone must end in vain while no other one
	// brings bytes: one may be its holder's fault. What leases bring is told once a
	// second, so that it shows in Config.LeaseTimeout whether they do.
	failuresMost = 2
	// bridgedFor is how long zones are bridged since one of them last could not
	// read. It outlasts what a registry asks for that sends everybody away.
	bridgedFor = maxBackoff
)

// failedToRead notes that a lease ended in vain; busy says that nobody may read.
func (s *Scheduler) failedToRead(st *stock, busy bool) {
	st.failures++
	if busy || st.failures >= failuresMost && s.now.Sub(st.brought) >= s.cfg.LeaseTimeout {
		s.bridgeZones(st.swarm)
	}
}

// brings notes that a lease has brought bytes.
func (st *stock) brings(now time.Time) { st.brought, st.failures = now, 0 }

// bridgeZones gives zones that keep to themselves gateways for a while.
func (s *Scheduler) bridgeZones(sw *swarm) {
	if !sw.split || len(sw.stocks) < 2 {
		return
	}
	sw.bridgedUntil = s.now.Add(bridgedFor)
	if sw.bridged {
		return
	}
	sw.bridged = true
	for _, st := range sw.stocks {
		// Those with few neighbours have room for more.
		some := sample(s.rng, st.members(), sampleFactor*gatesPerZone)
		slices.SortStableFunc(some, func(a, b *member) int { return cmp.Compare(len(a.edges), len(b.edges)) })
		for _, m := range some {
			s.gate(m) // as long as there is room
		}
	}
}

// partZones lets zones keep to themselves again, once their time is over.
func (s *Scheduler) partZones(sw *swarm) {
	if !sw.bridged || s.now.Before(sw.bridgedUntil) {
		return
	}
	const why = "the registry is nearer than another zone again"
	gone := sw.gates
	sw.gates, sw.bridged = nil, false
	for _, g := range gone {
		for _, m := range g.members {
			m.gate = false
			for _, o := range slices.Clone(m.edges) {
				if m.far(o) {
					s.cut(m, o, why)
				}
			}
			if !m.complete {
				s.introduce(m, nil, why)
			}
		}
	}
}

// keepsApart reports whether nobody of m's zone may have neighbours in others.
func (m *member) keepsApart() bool { return m.swarm.split && !m.swarm.bridged }

// where says in which zone a stock is, for people.
func (st *stock) where() string {
	if st.zone == "" {
		return ""
	}
	return "in zone " + st.zone + " "
}
