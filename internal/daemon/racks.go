package daemon

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// rackLasts is for how long a node's rack is believed: nodes are hardly ever moved.
	rackLasts = time.Hour
	// rackWait bounds what a peer waits for at the door.
	rackWait = 2 * time.Second
	// racksAtOnce is how many questions the API server is asked at a time: ten
	// thousand nodes may come at once.
	racksAtOnce = 16
	// rackRest is for how long it is left alone that did not answer.
	rackRest = 10 * time.Second
	// maxRacks bounds what is remembered; past it all is asked again.
	maxRacks = 32 << 10
)

// racks knows in which rack each machine is, as its platform says. What is not known is
// no rack: it is asked again when the peer comes next.
type racks struct {
	ask   func(ctx context.Context, node string) (rack string, err error)
	log   *slog.Logger
	slots chan struct{}

	mu    sync.Mutex // guards what follows
	known map[string]rackKnown
	rest  time.Time // no questions before
}

type rackKnown struct {
	rack  string
	until time.Time
}

func newRacks(ask func(ctx context.Context, node string) (string, error), log *slog.Logger) *racks {
	return &racks{ask: ask, log: log, slots: make(chan struct{}, racksAtOnce), known: make(map[string]rackKnown)}
}

// of is a node's rack, empty if it is not known. It may wait for rackWait, and may be
// called from many goroutines.
func (r *racks) of(ctx context.Context, node string) string {
	now := time.Now()
	r.mu.Lock()
	k, ok := r.known[node]
	resting := now.Before(r.rest)
	r.mu.Unlock()
	if ok && now.Before(k.until) || resting {
		return k.rack
	}
	ctx, cancel := context.WithTimeout(ctx, rackWait)
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return k.rack
	}
	rack, err := r.ask(ctx, node)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.log.Warn("a node's rack is not known; see zones.rackLabel", "node", node, "err", err)
		r.rest = time.Now().Add(rackRest)
		return k.rack
	}
	if len(r.known) >= maxRacks {
		clear(r.known)
	}
	r.known[node] = rackKnown{rack, now.Add(rackLasts)}
	return rack
}
