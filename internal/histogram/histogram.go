// Package histogram counts how long things took, in buckets. It is a value
// that a part keeps beside its other counters; what it is called, whoever
// composes the parts says (internal/metrics).
package histogram

import (
	"slices"
	"sync"
	"time"
)

// Durations counts durations by the smallest bound that they do not exceed.
// Make one with New. Methods may be called concurrently.
type Durations struct {
	bounds []time.Duration // ascending

	mu     sync.Mutex // guards what follows
	counts []uint64   // one a bound, and one for what is longer than all
	sum    time.Duration
}

// New makes an empty one. The bounds must ascend.
func New(bounds ...time.Duration) *Durations {
	return &Durations{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

// Observe counts one duration.
func (d *Durations) Observe(took time.Duration) {
	i, _ := slices.BinarySearch(d.bounds, took)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[i]++
	d.sum += took
}

// Snapshot is a copy of the counters.
func (d *Durations) Snapshot() Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Snapshot{Bounds: d.bounds, Counts: slices.Clone(d.counts), Sum: d.sum}
}

// Snapshot is what a Durations has counted. Counts[i] are those that took
// Bounds[i] or less, and more than Bounds[i-1]; the last are longer than all.
type Snapshot struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}

// Count is how many there were.
func (s Snapshot) Count() (n uint64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}
