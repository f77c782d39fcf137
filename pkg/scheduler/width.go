package scheduler

import "time"

// How many reads at once an origin deserves differs: one that caps each
// connection gives more with each, one that does not gives the same to all, and
// then fewer reads bring the first pieces sooner. So a blob begins with
// LeasesPerBlob leases; while twice as many are each about as fast, it gets
// twice as many.
const (
	// widenAfter is how long leases are watched at a width.
	widenAfter = time.Second
	// keepsPace is the part of its rate that a lease must keep when there are
	// twice as many: less than a half cannot be, if more connections bring
	// nothing more, and a fifth more of the whole is worth having.
	keepsPace = 0.6
	// widthHolds is how long a width that turned out well or badly stands.
	widthHolds = 5 * time.Minute
)

// width is how many leases a blob may have at a host, as far as it is known.
type width struct {
	n     int
	since time.Time // when it became n, or the watching began
	rate  float64   // bytes a second that a lease had at half of n; 0: n is the first
	fixed time.Time // no change before
}

// perBlob is how many leases a blob of this host may have.
func (s *Scheduler) perBlob(h *host) int {
	if h == nil || h.width.n == 0 {
		return s.cfg.LeasesPerBlob
	}
	return h.width.n
}

// widen looks whether the leases of a stock, which has all that it may have, say
// that more would bring more.
func (s *Scheduler) widen(st *stock) {
	if len(st.leases) == 0 || st.free == 0 {
		return
	}
	h := st.leases[0].host
	if h.width.n == 0 || s.now.After(h.width.fixed) && !h.width.fixed.IsZero() {
		h.width = width{n: s.cfg.LeasesPerBlob, since: s.now}
	}
	w := &h.width
	if len(st.leases) < w.n || s.now.Sub(w.since) < widenAfter || s.now.Before(w.fixed) {
		return
	}
	var sum float64
	for _, l := range st.leases {
		if l.host != h || l.bytes == 0 || s.now.Sub(l.granted) < widenAfter {
			return // too young
		}
		sum += l.rate()
	}
	rate := sum / float64(len(st.leases))
	switch {
	case w.rate > 0 && rate < keepsPace*w.rate:
		w.n, w.fixed = w.n/2, s.now.Add(widthHolds)
	case 2*w.n > s.cfg.LeasesPerHost:
		w.fixed = s.now.Add(widthHolds)
	default:
		w.n, w.rate, w.since = 2*w.n, rate, s.now
	}
}
