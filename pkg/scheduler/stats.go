package scheduler

// Stats are totals since the start, but for the gauges.
type Stats struct {
	Peers, Swarms, Members int // gauges
	LeasesActive           int // gauge

	LeasesGranted, LeasesDone, LeasesFailed, LeasesExpired int64
	LeasesSlow                                             int64 // taken back for being read far slower than others
	Introductions, Parts, Grants, Revocations, Waits       int64
	// Blames are counted by Fault.
	Blames [False + 1]int64
	// Stalls are calls for help.
	Stalls int64
	// Banned counts peers that several others blamed for false bytes.
	Banned int64
	// Disputes are false blobs that members told of, and what was false in them.
	Disputes int64
	// FromPeers and FromOrigin are bytes that peers received, as they tell.
	FromPeers, FromOrigin int64
	// Crowded are joins of peers that were in too many swarms. DoubtfulBlames
	// are those of peers that have blamed too many.
	Crowded, DoubtfulBlames int64
	// Hosts is a gauge: registries that are remembered.
	Hosts int
	// SizeConflicts are claims of a size that the swarm did not believe.
	SizeConflicts int64
}

// Stats returns the counters.
func (s *Scheduler) Stats() Stats {
	st := s.stats
	st.Peers, st.Swarms, st.Hosts = len(s.peers), len(s.swarms), len(s.hosts)
	for _, h := range s.hosts {
		st.LeasesActive += h.leases
		st.FromOrigin += h.bytes
	}
	return st
}

// count adds the decisions of a Step.
func (s *Scheduler) count() {
	for _, d := range s.out {
		switch d.(type) {
		case Introduce:
			s.stats.Introductions++
		case Part:
			s.stats.Parts++
		case Grant:
			s.stats.Grants++
		case Revoke:
			s.stats.Revocations++
		case Wait:
			s.stats.Waits++
		}
	}
}
