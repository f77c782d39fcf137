package rpc

import (
	"sync"
	"time"

	"github.com/p2pd/p2pd/internal/histogram"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// waitsMost bounds the joins that are waited for at once; those beyond are
	// not measured.
	waitsMost = 1024
	// waitMost is how long an answer may take to count as one: a decision that
	// comes later has another reason.
	waitMost = 10 * time.Second
)

// roundTrips measures how long schedulers take from a join to their first word
// about it: the network's time both ways, and their own.
type roundTrips struct {
	took *histogram.Durations

	mu    sync.Mutex // guards what follows
	since map[piece.Digest]time.Time
}

func newRoundTrips() *roundTrips {
	var bounds []time.Duration
	for _, ms := range []int64{1, 2, 5, 10, 25, 50, 100, 200, 500, 1000, 2500, 5000} {
		bounds = append(bounds, time.Duration(ms)*time.Millisecond)
	}
	return &roundTrips{took: histogram.New(bounds...), since: make(map[piece.Digest]time.Time)}
}

// asked says that a blob's swarm is joined now.
func (r *roundTrips) asked(d piece.Digest, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.since) >= waitsMost { // nobody answered: those of blobs that were held already
		for d, since := range r.since {
			if now.Sub(since) > waitMost {
				delete(r.since, d)
			}
		}
	}
	if len(r.since) < waitsMost {
		r.since[d] = now
	}
}

// answered says that a scheduler has decided something about a blob.
func (r *roundTrips) answered(d piece.Digest, now time.Time) {
	r.mu.Lock()
	since, waiting := r.since[d]
	delete(r.since, d)
	r.mu.Unlock()
	if waiting && now.Sub(since) <= waitMost {
		r.took.Observe(now.Sub(since))
	}
}

// RoundTrips is how long schedulers took to answer joins.
func (f *Fleet) RoundTrips() histogram.Snapshot { return f.trips.took.Snapshot() }
