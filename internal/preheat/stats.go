package preheat

import "github.com/p2pd/p2pd/internal/api"

// Stats are counts: of the jobs that are known, by how they are now, and of those
// that ended here, which is once in a cluster, since the start.
type Stats struct {
	Pending, Running             int
	Succeeded, Failed, Cancelled int64
	NodesDone, NodesFailed       int64 // of those that ended here
}

// Stats returns the counts.
func (k *Desk) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.stats
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
