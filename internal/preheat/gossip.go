package preheat

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// gossip is what schedulers tell each other.
type gossip struct {
	Jobs []*Job `json:"jobs"`
}

// publish has the other schedulers told of a job; mu is held.
func (k *Desk) publish(j *Job) {
	if k.cfg.Tell == nil {
		return
	}
	k.untold[j.ID] = true
	wake(k.tellUp)
}

// tell tells the other schedulers of what has changed, until ctx ends: of each job
// what it is by then.
func (k *Desk) tell(ctx context.Context) {
	for {
		select {
		case <-k.tellUp:
		case <-ctx.Done():
			return
		}
		if news := k.changes(); news != nil {
			k.cfg.Tell(news)
		}
	}
}

// changes are the jobs that others have not been told of.
func (k *Desk) changes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	var g gossip
	for id := range k.untold {
		if j := k.table.jobs[id]; j != nil {
			g.Jobs = append(g.Jobs, j)
		}
	}
	clear(k.untold)
	return k.written(g)
}

// written is what is told; nil if that is nothing.
func (k *Desk) written(g gossip) []byte {
	if len(g.Jobs) == 0 {
		return nil
	}
	news, err := json.Marshal(g)
	if err != nil {
		k.log.Error("preheat jobs cannot be told", "err", err)
		return nil
	}
	return news
}

// News is all jobs, for a scheduler that comes; nil if there are none.
func (k *Desk) News() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.written(gossip{k.table.byAge()})
}

// Heard takes another scheduler's News, or what it was told.
func (k *Desk) Heard(news []byte) {
	var g gossip
	if err := json.Unmarshal(news, &g); err != nil {
		k.log.Warn("another scheduler's preheat jobs are not understood", "err", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, j := range g.Jobs[:min(len(g.Jobs), maxJobs)] {
		if j == nil || j.ID < 1 || j.ID > scheduler.PreheatJobMost {
			continue
		}
		slices.SortFunc(j.Nodes, func(a, b *Node) int { return slices.Compare([]byte(a.Peer), []byte(b.Peer)) })
		if k.table.Merge(j) {
			delete(k.secrets, j.ID)
			if mine := k.table.jobs[j.ID]; mine.State != api.PreheatSucceeded {
				k.dismiss(mine)
			}
		}
	}
	k.table.Forget(time.Now())
	wake(k.wakeUp)
}

// SetRoster says which schedulers are up, this one among them.
func (k *Desk) SetRoster(names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.names = slices.Clone(names)
	wake(k.wakeUp)
}
