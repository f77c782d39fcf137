package preheat

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// How a Desk drives the jobs that it has taken, or that are left to it by a scheduler
// that is gone.

const (
	// turnEvery is how often jobs are looked at.
	turnEvery = 500 * time.Millisecond
	// lookUpWithin bounds looking an image up: an index and its manifests.
	lookUpWithin = 2 * time.Minute
	// renewEvery is how often a login is traded anew for nodes that still fetch:
	// tokens of registries last five minutes or more.
	renewEvery = 4 * time.Minute
)

// Run drives jobs until ctx ends.
func (k *Desk) Run(ctx context.Context) error {
	defer k.wg.Wait()
	if k.cfg.Tell != nil {
		k.wg.Go(func() { k.tell(ctx) })
	}
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-k.wakeUp:
		case <-ctx.Done():
			return nil
		}
		k.turn(ctx)
	}
}

// turn looks at every job that this scheduler drives.
func (k *Desk) turn(ctx context.Context) {
	if !k.busy() {
		return // ten thousand peers are not to be listed for nothing
	}
	peers, err := k.cfg.Peers.Peers(ctx)
	if err != nil {
		return // it is stopping
	}
	attached := make(map[scheduler.PeerID]bool, len(peers))
	for _, p := range peers {
		attached[p.ID] = true
	}
	k.cfg.Peers.Pass(k.drive(ctx, time.Now(), peers, attached))
}

// busy reports whether there is anything to do.
func (k *Desk) busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.unsent) > 0 || k.table.running() > 0
}

// drive does a turn, and returns what nodes are to be told.
func (k *Desk) drive(ctx context.Context, now time.Time, peers []scheduler.Peer, attached map[scheduler.PeerID]bool) []scheduler.Decision {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, j := range k.table.byAge() {
		if !j.running() || !k.drives(j) {
			continue
		}
		if j.State == api.PreheatPending && !k.lookedUp[j.ID] {
			k.lookedUp[j.ID] = true
			k.wg.Go(func() { k.prepare(ctx, j.ID, peers) })
		}
		tell, changed := k.table.Drive(j.ID, now, attached)
		if c := k.secrets[j.ID]; c.stale(now) && j.State == api.PreheatRunning {
			c.until = now.Add(renewEvery)
			k.wg.Go(func() { k.renew(ctx, j) })
		}
		k.send(j, tell)
		switch {
		case !j.running():
			k.closed(j)
		case changed:
			k.publish(j)
		}
	}
	k.table.Forget(now)
	ds := k.unsent
	k.unsent = nil
	return ds
}

// drives reports whether a job is this scheduler's to drive; mu is held.
func (k *Desk) drives(j *Job) bool {
	if j.TakenBy == k.cfg.Self || len(k.names) == 0 {
		return true
	}
	if slices.Contains(k.names, j.TakenBy) {
		return false
	}
	return scheduler.Owner(k.names, piece.Sum(strconv.AppendInt(nil, int64(j.ID), 10))) == k.cfg.Self
}

// prepare looks the image of a job up, and chooses who gets it.
func (k *Desk) prepare(ctx context.Context, id scheduler.PreheatJob, peers []scheduler.Peer) {
	ctx, cancel := context.WithTimeout(ctx, lookUpWithin)
	defer cancel()
	k.mu.Lock()
	j := k.table.jobs[id]
	spec := j.Spec
	k.mu.Unlock()
	var d piece.Digest
	var variants []Variant
	own := platforms(spec.selected(peers))
	as, err := k.authorization(ctx, j)
	if err == nil {
		d, variants, err = lookUp(ctx, k.cfg.Registries, &spec, as, own)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.lookedUp, id)
	if !j.running() || ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return
	}
	now := time.Now()
	targets := spec.targets(peers, d, variants)
	able := slices.ContainsFunc(spec.selected(peers), func(p scheduler.Peer) bool { return !spec.cannot(p) })
	switch {
	case len(own) == 0:
		k.table.End(id, now, api.PreheatFailed, "no node is connected that the job may choose")
	case err != nil:
		k.table.End(id, now, api.PreheatFailed, err.Error())
	case !able:
		k.table.End(id, now, api.PreheatFailed, "of the nodes that the job may choose, none can: "+errNoRuntime.Error())
	case len(targets) == 0:
		k.table.End(id, now, api.PreheatFailed, "the image has nothing for the platforms of the nodes that the job may choose")
	default:
		k.table.Begin(id, now, d, variants, targets)
		k.publish(j)
		wake(k.wakeUp)
		return
	}
	k.closed(j)
}
