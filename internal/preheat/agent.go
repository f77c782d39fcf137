package preheat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// maxAgentJobs bounds the jobs that a node knows: what runs in a cluster at
	// most, and as many that have ended.
	maxAgentJobs = 2 * maxRunning
	// atOnce is how many blobs a node fetches at a time, of all jobs: as many as
	// containerd does of an image.
	atOnce = 3
	// reportEvery is how often schedulers hear of a job that runs.
	reportEvery = time.Second
	// repeatEvery is how often the end of a job is told again, for repeatFor: a
	// scheduler may have been away.
	repeatEvery = 5 * time.Second
	repeatFor   = time.Minute
	// inboxLen is how many decisions may wait. What does not fit is told again.
	inboxLen = 2 * maxRunning
)

// AgentConfig is what an Agent is made of. Engine and Report must be set.
type AgentConfig struct {
	Self   scheduler.PeerID
	Engine Engine
	// Report tells all schedulers. It does not block.
	Report func(scheduler.PreheatReport)
	// Runtime unpacks images; nil: there is none that may be asked.
	Runtime Runtime
	Logger  *slog.Logger // nil logs nothing
}

// Agent fetches on a node what schedulers ask for.
type Agent struct {
	cfg   AgentConfig
	log   *slog.Logger
	inbox chan scheduler.Decision
	ended chan ending
	turns chan struct{} // holds atOnce at most: blobs that are fetched now
	// unpacks holds unpacksAtOnce at most: images that are pulled by the runtime.
	unpacks chan struct{}

	// Owned by Run:
	jobs map[scheduler.PreheatJob]*task
	wg   sync.WaitGroup
}

// task is a job on this node.
type task struct {
	job    scheduler.Preheat
	cancel context.CancelFunc
	as     atomic.Pointer[secret.Value] // what to read with now
	// unpacking says that the blobs are here, and it is the runtime's turn.
	unpacking atomic.Bool
	began     time.Time
	end       *ending // nil while it runs
	ended     time.Time
	told      time.Time // when schedulers were last told
}

// ending is how a job ended here.
type ending struct {
	t      *task
	failed piece.Digest
	err    error
}

// NewAgent makes one. Run must be called.
func NewAgent(cfg AgentConfig) *Agent {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Agent{
		cfg: cfg, log: cfg.Logger, inbox: make(chan scheduler.Decision, inboxLen), ended: make(chan ending),
		turns: make(chan struct{}, atOnce), unpacks: make(chan struct{}, unpacksAtOnce), jobs: make(map[scheduler.PreheatJob]*task),
	}
}

// Take takes a Preheat or a PreheatEnd. It does not block.
func (a *Agent) Take(d scheduler.Decision) {
	select {
	case a.inbox <- d:
	default:
		a.log.Warn("a preheat was not heard; its scheduler repeats it", "why", d.Why())
	}
}

// Run fetches until ctx ends. What has arrived stays.
func (a *Agent) Run(ctx context.Context) error {
	defer a.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for {
		select {
		case d := <-a.inbox:
			switch d := d.(type) {
			case scheduler.Preheat:
				a.begin(ctx, d, time.Now())
			case scheduler.PreheatEnd:
				a.forget(d.Job)
			}
		case e := <-a.ended:
			a.finish(e, time.Now())
		case <-tick.C:
			a.report(time.Now())
		case <-ctx.Done():
			return nil
		}
	}
}

// begin takes a job. One that is known is told of anew, and reads with what came
// now.
func (a *Agent) begin(ctx context.Context, d scheduler.Preheat, now time.Time) {
	if t := a.jobs[d.Job]; t != nil {
		if !d.Bereft {
			t.as.Store(&d.Authorization)
		}
		a.tell(t, now)
		return
	}
	if !a.room() {
		a.cfg.Report(scheduler.PreheatReport{Peer: a.cfg.Self, Job: d.Job, State: scheduler.PreheatFailed, Error: fmt.Sprintf("%d jobs are running here", len(a.jobs))})
		return
	}
	t := &task{job: d, began: now}
	t.as.Store(&d.Authorization)
	t.job.Authorization = secret.Value{}
	a.jobs[d.Job] = t
	var own context.Context
	own, t.cancel = context.WithCancel(ctx)
	a.log.Info("preheat", "job", int64(d.Job), "registry", d.Registry, "repository", d.Repository, "blobs", len(d.Blobs))
	a.wg.Go(func() {
		e := a.bring(own, t)
		select {
		case a.ended <- e:
		case <-ctx.Done():
		}
	})
	a.tell(t, now)
}

// room makes room for one more job, and reports whether there is.
func (a *Agent) room() bool {
	if len(a.jobs) < maxAgentJobs {
		return true
	}
	var oldest *task
	for _, t := range a.jobs {
		if t.end != nil && (oldest == nil || t.ended.Before(oldest.ended)) {
			oldest = t
		}
	}
	if oldest == nil {
		return false
	}
	delete(a.jobs, oldest.job.Job)
	return true
}

func (a *Agent) forget(id scheduler.PreheatJob) {
	if t := a.jobs[id]; t != nil {
		t.cancel()
		delete(a.jobs, id)
	}
}

func (a *Agent) finish(e ending, now time.Time) {
	if a.jobs[e.t.job.Job] != e.t {
		return // it was forgotten
	}
	e.t.cancel()
	e.t.end, e.t.ended = &e, now
	e.t.as.Store(new(secret.Value)) // it is for the job alone
	e.t.job.Login = secret.Value{}
	a.log.Info("preheat has ended", "job", int64(e.t.job.Job), "took", now.Sub(e.t.began).Round(time.Millisecond), "err", e.err)
	a.tell(e.t, now)
}

// report tells schedulers of all jobs that they may not know all of.
func (a *Agent) report(now time.Time) {
	for _, t := range a.jobs {
		if t.end == nil || now.Sub(t.told) >= repeatEvery && now.Sub(t.ended) < repeatFor {
			a.tell(t, now)
		}
	}
}

func (a *Agent) tell(t *task, now time.Time) {
	r := scheduler.PreheatReport{Peer: a.cfg.Self, Job: t.job.Job, State: scheduler.PreheatFetching, Unpacking: t.end == nil && t.unpacking.Load()}
	for _, b := range t.job.Blobs {
		n := a.cfg.Engine.Fetched(t.want(b))
		if r.Bytes += n; n == b.Size {
			r.Blobs++
		}
	}
	if e := t.end; e != nil {
		if r.State = scheduler.PreheatDone; e.err != nil {
			r.State, r.Failed, r.Error = scheduler.PreheatFailed, e.failed, e.err.Error()
		}
	}
	t.told = now
	a.cfg.Report(r)
}

func (t *task) want(b scheduler.PreheatBlob) Want {
	return Want{Registry: t.job.Registry, Repository: t.job.Repository, PreheatBlob: b, Authorization: *t.as.Load()}
}

// bring does all of a job.
func (a *Agent) bring(ctx context.Context, t *task) ending {
	switch {
	case t.job.Bereft:
		return ending{t: t, err: errNoCredential}
	case t.job.Unpack != "" && a.cfg.Runtime == nil:
		return ending{t: t, err: errNoRuntime}
	}
	e := a.fetch(ctx, t)
	if e.err == nil && t.job.Unpack != "" {
		e.err = a.unpack(ctx, t)
	}
	return e
}

// fetch brings all blobs of a job here. The first one that cannot be had ends it.
func (a *Agent) fetch(ctx context.Context, t *task) ending {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failures := make(chan ending, len(t.job.Blobs))
	var wg sync.WaitGroup
	for _, b := range t.job.Blobs { // in the same order on all nodes, so that they can help each other
		if !a.turn(ctx) {
			break
		}
		wg.Go(func() {
			defer func() { <-a.turns }()
			if err := a.fetchOne(ctx, t, b); err != nil {
				failures <- ending{t: t, failed: b.Digest, err: explained(err, *t.as.Load())}
				cancel()
			}
		})
	}
	wg.Wait()
	select {
	case e := <-failures: // the first one is the cause of the others
		return e
	default:
	}
	if ctx.Err() != nil {
		return ending{t: t, err: ctx.Err()}
	}
	missing := 0
	for _, b := range t.job.Blobs {
		if a.cfg.Engine.Fetched(t.want(b)) != b.Size {
			missing++
		}
	}
	if missing > 0 {
		return ending{t: t, err: fmt.Errorf("disk full: %d of %d blobs had to make room for others again; store.capacity is too small for this image", missing, len(t.job.Blobs))}
	}
	return ending{t: t}
}

// turn waits until one more blob may be fetched, and reports whether it came to
// that.
func (a *Agent) turn(ctx context.Context) bool {
	select {
	case a.turns <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// fetchOne fetches a blob. What the credential of a moment ago could not read is
// tried again if there is a new one.
func (a *Agent) fetchOne(ctx context.Context, t *task, b scheduler.PreheatBlob) error {
	for {
		as := t.as.Load()
		err := a.cfg.Engine.Fetch(ctx, t.want(b))
		if err == nil || ctx.Err() != nil || t.as.Load() == as {
			return err
		}
		if refused, ok := errors.AsType[interface {
			error
			HTTPStatus() int
		}](err); !ok || refused.HTTPStatus() != unauthorized {
			return err
		}
	}
}
