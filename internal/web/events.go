package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// snapshotEvery is how often a watcher hears. Each snapshot holds the
	// brain up for two or three looks.
	snapshotEvery = time.Second
	// watcherPatience is how long a watcher may take to take a snapshot. One that
	// reads nothing would hold a place for ever.
	watcherPatience = 10 * time.Second
	// watchersMost bounds the watchers, and with them what they cost the
	// brain: a tenth of its time with twenty thousand swarms.
	watchersMost = 32
	// snapshotSwarms, snapshotMembers and snapshotJobs bound a snapshot.
	snapshotSwarms, snapshotMembers, snapshotJobs = 50, 200, 50
)

// watch sends snapshots until the watcher goes away: server-sent events (WHATWG
// HTML §9.2), each with one line of data.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) error {
	var swarm piece.Digest
	if v := r.URL.Query().Get("swarm"); v != "" {
		d, err := piece.ParseDigest(v)
		if err != nil {
			return invalid(err.Error(), "write it as sha256: and 64 hexadecimal digits")
		}
		swarm = d
	}
	select {
	case s.watchers <- struct{}{}:
		defer func() { <-s.watchers }()
	default:
		return &api.Error{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("%d are watching already", watchersMost), Hint: "close a page that nobody looks at"}
	}
	tick := time.NewTicker(snapshotEvery)
	defer tick.Stop()
	flush := http.NewResponseController(w)
	for sent := false; ; sent = true {
		snap, err := s.snapshot(r, swarm)
		if err != nil && !sent {
			return err // there is still a status to say it with
		}
		if err != nil {
			return nil //nolint:nilerr // the watcher asks anew, and is told then
		}
		b, err := json.Marshal(snap)
		if err != nil {
			return err
		}
		if !sent {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("X-Accel-Buffering", "no") // nginx holds answers back that say nothing of it
		}
		_ = flush.SetWriteDeadline(time.Now().Add(watcherPatience)) // what is no connection has none
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
			return nil //nolint:nilerr // it went away
		}
		if err := flush.Flush(); err != nil {
			return nil //nolint:nilerr // it went away
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return nil
		}
	}
}

func (s *Server) snapshot(r *http.Request, swarmOf piece.Digest) (api.Snapshot, error) {
	jobs := s.cfg.Preheats.Jobs()
	snap := api.Snapshot{Meta: api.Of("Snapshot"), At: time.Now().UTC(), Swarms: []api.Swarm{}, Preheats: jobs[:min(len(jobs), snapshotJobs)], Reports: s.cfg.Ledger.Summary(time.Now())}
	var err error
	if snap.Status, err = s.schedulerStatus(r.Context()); err != nil {
		return snap, err
	}
	found, err := look(r.Context(), s.cfg.Brain, func(_ time.Time, core *scheduler.Scheduler) []scheduler.SwarmView {
		page, _ := core.ViewSwarms(scheduler.Page{Limit: snapshotSwarms}, true)
		if len(page) < snapshotSwarms {
			quiet, _ := core.ViewSwarms(scheduler.Page{Limit: snapshotSwarms}, false)
			page = append(page, quiet...)
		}
		return page
	})
	if err != nil {
		return snap, err
	}
	seen := make(map[piece.Digest]bool, len(found))
	for i := range found {
		if v := &found[i]; !seen[v.Digest] && len(snap.Swarms) < snapshotSwarms {
			seen[v.Digest] = true
			snap.Swarms = append(snap.Swarms, swarm(v))
		}
	}
	if swarmOf.IsZero() {
		return snap, nil
	}
	type one struct {
		v  scheduler.SwarmDetail
		is bool
	}
	f, err := look(r.Context(), s.cfg.Brain, func(_ time.Time, core *scheduler.Scheduler) one {
		v, is := core.ViewSwarm(swarmOf, scheduler.Page{Limit: snapshotMembers})
		return one{v, is}
	})
	if err == nil && f.is {
		d := swarmDetail(&f.v)
		snap.Swarm = &d
	}
	return snap, err
}
