package choice

import (
	"slices"
	"time"
)

const (
	// paceSamples is how many transfers the rolling median looks back on.
	paceSamples = 33
	// paceMin is how many it needs before it says anything.
	paceMin = 5
)

// Pace is the rolling median of how long a node's piece transfers take, over
// all downloads. The zero value is ready.
type Pace struct {
	samples []float64 // seconds a byte, a ring
	next    int
	median  float64
}

// Observe adds one transfer of n bytes.
func (p *Pace) Observe(n int64, took time.Duration) {
	if n <= 0 {
		return
	}
	s := took.Seconds() / float64(n)
	if len(p.samples) < paceSamples {
		p.samples = append(p.samples, s)
	} else {
		p.samples[p.next] = s
		p.next = (p.next + 1) % paceSamples
	}
	var sorted [paceSamples]float64
	k := copy(sorted[:], p.samples)
	slices.Sort(sorted[:k])
	p.median = sorted[k/2]
}

// Expect is how long n bytes usually take; false while too little is known.
func (p *Pace) Expect(n int64) (time.Duration, bool) {
	if len(p.samples) < paceMin {
		return 0, false
	}
	return time.Duration(p.median * float64(n) * float64(time.Second)), true
}
