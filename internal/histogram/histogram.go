// Package histogram counts how long things took, in buckets. It is a value
// that a part keeps beside its other counters; what it is called, whoever
// composes the parts says (internal/metrics).
package histogram

import (
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// Durations counts durations by the smallest bound that they do not exceed.
// Make one with New. Methods may be called concurrently.
type Durations struct {
	bounds []time.Duration // ascending

	mu     sync.Mutex     // guards what follows
	counts []uint64       // one a bound, and one for what is longer than all
	fine   map[int]uint64 // by Snapshot.Fine's index
	traced []Exemplar     // as many, the last traced of each; nil: none ever was
	sum    time.Duration
}

// Exemplar is one duration of which there is a trace.
type Exemplar struct {
	Trace string // its ID in hexadecimal digits; empty: there is none
	Took  time.Duration
	At    time.Time // when it ended
}

// New makes an empty one. The bounds must ascend.
func New(bounds ...time.Duration) *Durations {
	return &Durations{bounds: bounds, counts: make([]uint64, len(bounds)+1), fine: make(map[int]uint64)}
}

// Observe counts one duration.
func (d *Durations) Observe(took time.Duration) { d.ObserveTraced(Exemplar{Took: took}) }

// ObserveTraced counts one duration, and keeps it as its bucket's example if there
// is a trace of it.
func (d *Durations) ObserveTraced(e Exemplar) {
	i, _ := slices.BinarySearch(d.bounds, e.Took)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[i]++
	if e.Took > 0 {
		d.fine[fineBucket(e.Took)]++
	}
	d.sum += e.Took
	if e.Trace == "" {
		return
	}
	if d.traced == nil {
		d.traced = make([]Exemplar, len(d.counts))
	}
	d.traced[i] = e
}

// Snapshot is a copy of the counters.
func (d *Durations) Snapshot() Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Snapshot{Bounds: d.bounds, Counts: slices.Clone(d.counts), Fine: maps.Clone(d.fine), Sum: d.sum, Traced: slices.DeleteFunc(slices.Clone(d.traced), func(e Exemplar) bool { return e.Trace == "" })}
}

// Snapshot is what a Durations has counted. Counts[i] are those that took
// Bounds[i] or less, and more than Bounds[i-1]; the last are longer than all.
type Snapshot struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
	// Fine are the same but those that took no time, by narrower buckets:
	// Fine[i] took 2^(i/8) seconds or less, and more than 2^((i-1)/8). They are
	// those of a native histogram of Prometheus with schema FineSchema.
	Fine map[int]uint64
	// Traced are examples, one a bucket at most.
	Traced []Exemplar
}

// FineSchema says how narrow Snapshot.Fine's buckets are: there are 2^FineSchema of
// them in each doubling, so that a quantile is off by a twentieth at most. From 1 ns
// to a day there are 372.
const FineSchema = 3

// fineBucket is the index of a duration above 0 in Snapshot.Fine.
func fineBucket(took time.Duration) int {
	return int(math.Ceil(math.Log2(took.Seconds()) * (1 << FineSchema)))
}

// Count is how many there were.
func (s Snapshot) Count() (n uint64) {
	for _, c := range s.Counts {
		n += c
	}
	return n
}
