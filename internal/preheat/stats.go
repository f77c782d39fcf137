package preheat

import (
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/histogram"
)

// newTook counts how long jobs take that succeed: seconds where nodes have most of the
// image already, minutes for a large cluster, DefaultTimeout at the most unless more was
// asked for.
func newTook() *histogram.Durations {
	return histogram.New(time.Second, 5*time.Second, 15*time.Second, 30*time.Second, time.Minute, 2*time.Minute, 5*time.Minute, 10*time.Minute, DefaultTimeout, time.Hour)
}

// Stats are counts: of the jobs that are known, by how they are now, and of those
// that ended here, which is once in a cluster, since the start.
type Stats struct {
	Pending, Running             int
	Succeeded, Failed, Cancelled int64
	NodesDone, NodesFailed       int64 // of those that ended here
	// Took is how long those took that succeeded here, from when they were asked for.
	Took histogram.Snapshot
}

// Stats returns the counts.
func (k *Desk) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.stats
	s.Took = k.took.Snapshot()
	for _, j := range k.table.jobs {
		switch j.State {
		case api.PreheatPending:
			s.Pending++
		case api.PreheatRunning:
			s.Running++
		}
	}
	return s
}

// count counts a job that has ended here; mu is held.
func (k *Desk) count(j *Job) {
	switch j.State {
	case api.PreheatSucceeded:
		k.stats.Succeeded++
		k.took.Observe(j.Ended.Sub(j.Created))
	case api.PreheatFailed:
		k.stats.Failed++
	case api.PreheatCancelled:
		k.stats.Cancelled++
	}
	for _, n := range j.Nodes {
		switch n.State {
		case api.PreheatDone:
			k.stats.NodesDone++
		case api.PreheatFailed:
			k.stats.NodesFailed++
		}
	}
}
