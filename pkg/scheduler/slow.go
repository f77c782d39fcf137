package scheduler

import (
	"fmt"
	"slices"
	"time"
)

// Reads from one origin share its line unevenly: of two dozen TCP flows the
// slowest may get a tenth of what the fastest gets, for as long as it lives. A
// lease that happens to be read so slowly holds back every member that waits
// for its pieces, so it is taken back and read by somebody else.
const (
	// slowAfter is how long a lease is read before its rate says anything.
	slowAfter = 2 * time.Second
	// slowLeft: one that will be through within this is left alone.
	slowLeft = 3 * time.Second
	// slowFactor is how many times slower than others it must be.
	slowFactor = 3
	// rateWeight is the weight of the newest lease in a host's usual rate.
	rateWeight = 0.2
)

// rate is the bytes a second of a lease so far; 0 while too little is known.
func (l *lease) rate() float64 {
	took := l.moved.Sub(l.granted)
	if l.bytes == 0 || took <= 0 {
		return 0
	}
	return float64(l.bytes) / took.Seconds()
}

// observe learns a host's usual rate from a lease that is done.
func (h *host) observe(n int64, took time.Duration) {
	if n <= 0 || took <= 0 {
		return
	}
	r := float64(n) / took.Seconds()
	if h.rate == 0 {
		h.rate = r
		return
	}
	h.rate += rateWeight * (r - h.rate)
}

// tooSlow says why a lease should be read by somebody else; "" if not.
func (s *Scheduler) tooSlow(l *lease) string {
	if l.whole || l.host.rate == 0 || s.now.Sub(l.granted) < slowAfter || len(l.stock.members()) < 2 {
		return ""
	}
	_, span := l.stock.swarm.layout.Span(l.pieces)
	rate, left := l.rate(), float64(span-l.bytes)
	if rate == 0 || left/rate < slowLeft.Seconds() || rate*slowFactor > l.host.rate {
		return ""
	}
	return fmt.Sprintf("lease %d is read at %.0f KiB/s, others at %.0f KiB/s", l.id, rate/1024, l.host.rate/1024)
}

// expire takes back leases that show no progress, or too little.
func (s *Scheduler) expire(st *stock) {
	for _, l := range slices.Clone(st.leases) {
		why := s.tooSlow(l)
		switch {
		case s.now.Sub(l.moved) > s.cfg.LeaseTimeout:
			why = fmt.Sprintf("lease %d showed no byte for %v", l.id, s.cfg.LeaseTimeout)
			s.stats.LeasesExpired++
			s.failedToRead(st, false)
		case why != "":
			s.stats.LeasesSlow++
		default:
			continue
		}
		s.release(l)
		s.skip(l.holder)
		s.revoke(l, why)
	}
}
