package pulls

import (
	"time"

	"github.com/p2pd/p2pd/internal/histogram"
)

// Ending is a registry, as Config.Registry calls it, and how a pull ended.
type Ending struct {
	Registry string
	Outcome  Outcome
}

// Stats counts since the tracker was made, but for the gauges.
type Stats struct {
	// Took is how long pulls took, from the request for the manifest, or for
	// the tag or index that named it, to the last byte of the last blob.
	Took map[Ending]histogram.Snapshot
	// FirstByte is how long the first byte of a blob took, and Blob how long
	// all of it, each from the first request for it.
	FirstByte, Blob map[Source]histogram.Snapshot
	// Running is a gauge: pulls of which a blob was asked for. Oldest is for
	// how long the oldest of them has run; 0 if there is none.
	Running int
	Oldest  time.Duration
}

// Stats is a copy of the counters.
func (t *Tracker) Stats(now time.Time) Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	s := Stats{Took: snapshots(t.took), FirstByte: snapshots(t.first), Blob: snapshots(t.blob)}
	for _, p := range t.pulls {
		if p.running == 0 {
			continue
		}
		s.Running++
		s.Oldest = max(s.Oldest, now.Sub(p.began))
	}
	return s
}

func snapshots[K comparable](of map[K]*histogram.Durations) map[K]histogram.Snapshot {
	all := make(map[K]histogram.Snapshot, len(of))
	for k, d := range of {
		all[k] = d.Snapshot()
	}
	return all
}

// The bounds of the buckets. Those of pulls have the 300 s that operators are
// promised as an edge, and go on to where a pull is lost anyway.

func pullBounds() []time.Duration {
	return seconds(0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 180, 300, 450, 600, 900, 1800)
}

func firstBounds() []time.Duration {
	return seconds(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20)
}

func blobBounds() []time.Duration {
	return seconds(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
}

func seconds(all ...float64) []time.Duration {
	bounds := make([]time.Duration, 0, len(all))
	for _, s := range all {
		bounds = append(bounds, time.Duration(s*float64(time.Second)))
	}
	return bounds
}
