package preheat

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/histogram"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// createRate and createBurst bound new jobs: a pipeline that pushes a release of
	// a hundred images gets through, a loop gone wild does not.
	createRate, createBurst = 2, 100
	// hearWithin is how long news of a job may be on their way from another
	// scheduler, and hearEvery how often it is looked for meanwhile.
	hearWithin, hearEvery = 2 * time.Second, 50 * time.Millisecond
)

// Config is what a Desk is made of. Registries and Peers must be set.
type Config struct {
	Registries Registries
	Peers      Peers
	// Labels are those of nodes; nil: there are none to choose by.
	Labels Labels
	// Self names this scheduler among others; empty: there are none.
	Self string
	// Tell has all other schedulers hear something, in Heard. It may be nil.
	Tell func(news []byte)
	// Clear says that peers are spoken to in plaintext: no credential is taken then.
	Clear  bool
	Logger *slog.Logger // nil logs nothing
}

// Desk takes jobs, and drives them. Methods are safe for concurrent use.
type Desk struct {
	cfg    Config
	log    *slog.Logger
	limit  *rate.Limiter
	wakeUp chan struct{}  // holds a token if there may be something to do
	tellUp chan struct{}  // and if there is something to tell other schedulers
	wg     sync.WaitGroup // of what Run has started
	took   *histogram.Durations

	mu       sync.Mutex // guards what follows
	table    *Table
	names    []string // of the schedulers that are up
	secrets  map[scheduler.PreheatJob]*credential
	lookedUp map[scheduler.PreheatJob]bool // being looked up now
	unsent   []scheduler.Decision          // for the next turn
	untold   map[scheduler.PreheatJob]bool // to other schedulers
	stats    Stats
}

// NewDesk makes one. Run must be called for anything to happen to jobs.
func NewDesk(cfg Config) *Desk {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Desk{
		cfg: cfg, log: cfg.Logger, limit: rate.NewLimiter(createRate, createBurst), wakeUp: make(chan struct{}, 1), tellUp: make(chan struct{}, 1),
		table: NewTable(), secrets: make(map[scheduler.PreheatJob]*credential), lookedUp: make(map[scheduler.PreheatJob]bool),
		untold: make(map[scheduler.PreheatJob]bool), took: newTook(),
	}
}

// Create takes a job, or names the one that does the same already. It waits for nothing
// but the platform, if nodes are chosen by their labels. Errors are *api.Error.
func (k *Desk) Create(ctx context.Context, r api.PreheatRequest) (api.Preheat, error) {
	spec, l, err := specOf(&r, k.cfg.Registries)
	if err != nil {
		return api.Preheat{}, err
	}
	if k.cfg.Clear && !l.none() {
		return api.Preheat{}, &api.Error{
			Status: http.StatusForbidden, Message: "this cluster is open: nodes would be told the credential in the clear",
			Hint: "close it (membership.mode), or give scheduler and nodes credentials of their own (registries[].credentials)",
		}
	}
	if spec.Labelled != nil {
		if !k.limit.Allow() { // what asks the API server counts, whatever comes of it
			return api.Preheat{}, errTooFast()
		}
		if spec.Labelled, err = k.label(ctx, spec.Labelled.Selector); err != nil {
			return api.Preheat{}, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if twin := k.table.Twin(&spec); twin != nil && l.none() {
		return twin.shown(true), nil
	}
	if spec.Labelled == nil && !k.limit.Allow() {
		return api.Preheat{}, errTooFast()
	}
	now := time.Now()
	j := &Job{Spec: spec, Secret: !l.none(), TakenBy: k.cfg.Self, Created: now, Updated: now, State: api.PreheatPending}
	if err := k.number(j); err != nil {
		return api.Preheat{}, err
	}
	if !l.none() {
		k.secrets[j.ID] = newCredential(l)
	}
	k.table.Forget(now)
	k.log.Info("preheat job", "job", int64(j.ID), "image", spec.Image(), "scope", spec.Scope, "selector", spec.Labelled.selector(), "into", spec.Into, "platforms", spec.Platforms)
	k.publish(j)
	wake(k.wakeUp)
	return j.shown(true), nil
}

func errTooFast() error {
	return &api.Error{Status: http.StatusTooManyRequests, Message: fmt.Sprintf("more than %d jobs a second", createRate), Hint: "wait a moment, and ask for an image once"}
}

// number gives a job a number that no scheduler has given to another one: drawn
// from 2^53, two of the few hundred that are remembered are the same once in 10^11
// clusters.
func (k *Desk) number(j *Job) error {
	const tries = 4
	for range tries {
		n, err := rand.Int(rand.Reader, big.NewInt(scheduler.PreheatJobMost))
		if err != nil {
			return err
		}
		j.ID = scheduler.PreheatJob(n.Int64() + 1)
		if k.table.Add(j) {
			return nil
		}
	}
	return &api.Error{Status: http.StatusTooManyRequests, Message: fmt.Sprintf("%d jobs are running", maxRunning), Hint: "wait for one to end, or cancel one"}
}

// Jobs are all that are known, the newest first, without their nodes.
func (k *Desk) Jobs() []api.Preheat {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]api.Preheat, 0, len(k.table.jobs))
	for _, j := range k.table.byAge() {
		all = append(all, j.shown(false))
	}
	return all
}

// Job is one with its nodes; false if it is not known. Where there are other
// schedulers, one that is not known is waited for a moment: whoever created it there
// may ask here at once.
func (k *Desk) Job(ctx context.Context, id int64) (api.Preheat, bool) {
	for deadline := time.Now().Add(hearWithin); ; {
		k.mu.Lock()
		j, alone := k.table.jobs[scheduler.PreheatJob(id)], len(k.names) < 2
		var p api.Preheat
		if j != nil {
			p = j.shown(true)
		}
		k.mu.Unlock()
		if j != nil || alone || time.Now().After(deadline) {
			return p, j != nil
		}
		select {
		case <-time.After(hearEvery):
		case <-ctx.Done():
			return p, false
		}
	}
}

// Cancel ends a job; one that has ended stays as it is. False if it is not known.
func (k *Desk) Cancel(id int64, why string) (api.Preheat, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	j := k.table.jobs[scheduler.PreheatJob(id)]
	if j == nil {
		return api.Preheat{}, false
	}
	if j.running() {
		k.table.End(j.ID, time.Now(), api.PreheatCancelled, why)
		k.closed(j)
	}
	return j.shown(true), true
}

// closed does what follows from a job's end; mu is held.
func (k *Desk) closed(j *Job) {
	k.log.Info("preheat job has ended", "job", int64(j.ID), "image", j.Spec.Image(), "state", j.State, "err", j.Error)
	delete(k.secrets, j.ID)
	k.count(j)
	k.publish(j)
	if j.State != api.PreheatSucceeded {
		k.dismiss(j)
	}
}

// dismiss has nodes forget a job; mu is held.
func (k *Desk) dismiss(j *Job) {
	for _, n := range j.Nodes {
		if n.State != api.PreheatDone {
			k.unsent = append(k.unsent, scheduler.PreheatEnd{To: n.Peer, Job: j.ID, Reason: "the job is " + j.State})
		}
	}
	wake(k.wakeUp)
}

// Reported takes what a node says. It does not block.
func (k *Desk) Reported(r scheduler.PreheatReport) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.table.Report(r, time.Now())
	if r.State != scheduler.PreheatFetching {
		wake(k.wakeUp)
	}
}

// wake puts a token into a channel that has room for one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
