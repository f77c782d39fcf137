package choice

import (
	"math"
	"slices"
	"time"
)

const (
	// paceSamples is how many transfers the rolling quantiles look back on.
	paceSamples = 33
	// paceMin is how many they need before they say anything.
	paceMin = 5
)

// Pace is how long a node's piece transfers take, over all downloads. The zero
// value is ready.
type Pace struct {
	perByte ring // seconds, of all transfers
	// Of those from neighbours:
	lead ring // seconds until the first byte
	flow ring // seconds a byte after that
}

// Observe adds one transfer of n bytes.
func (p *Pace) Observe(n int64, took time.Duration) {
	if n > 0 {
		p.perByte.add(took.Seconds() / float64(n))
	}
}

// ObserveNeighbour adds one that came from a neighbour, and whose first byte was here
// after lead.
func (p *Pace) ObserveNeighbour(n int64, lead, took time.Duration) {
	p.Observe(n, took)
	if n > 0 {
		p.lead.add(lead.Seconds())
		p.flow.add((took - lead).Seconds() / float64(n))
	}
}

// Expect is how long n bytes usually take, the median; false while too little is
// known.
func (p *Pace) Expect(n int64) (time.Duration, bool) {
	s, ok := p.perByte.quantile(1, 2)
	return time.Duration(s * float64(n) * float64(time.Second)), ok
}

// Early is how many more pieces of n bytes than MaxFetches may be under way,
// because so many are not under way yet: their requests are, or the news of what
// there is to ask for, each for about as long as a first byte takes. Of these
// times the lower quartile counts, since in others a child waited for its slot.
func (p *Pace) Early(n int64) int {
	lead, ok := p.lead.quantile(1, 4)
	perByte, _ := p.flow.quantile(1, 2)
	flow := perByte * float64(n)
	switch {
	case !ok:
		return 0
	case flow <= 0:
		return maxEarly
	}
	return int(min(maxEarly, math.Round(2*MaxFetches*lead/flow)))
}

// ring holds the last paceSamples numbers.
type ring struct {
	samples []float64 // in any order; next is the oldest once it is full
	next    int
	sorted  []float64 // the same
}

func (r *ring) add(x float64) {
	if len(r.samples) < paceSamples {
		r.samples = append(r.samples, x)
	} else {
		r.samples[r.next] = x
		r.next = (r.next + 1) % paceSamples
	}
	r.sorted = append(r.sorted[:0], r.samples...)
	slices.Sort(r.sorted)
}

// quantile is the one of k in of, false while there are few numbers.
func (r *ring) quantile(k, of int) (float64, bool) {
	if len(r.sorted) < paceMin {
		return 0, false
	}
	return r.sorted[len(r.sorted)*k/of], true
}
