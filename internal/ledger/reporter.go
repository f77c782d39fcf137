package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/pulls"
)

const (
	// reportEvery is how often a node tells, if there is something. It also is
	// over how long ten thousand nodes spread that end a pull at once.
	reportEvery = 5 * time.Second
	// pullsKept, incidentsKept and checksKept bound what waits to be told; what
	// is older gives way, and is counted. They are what is told in 40 s.
	pullsKept, incidentsKept, checksKept = 32, 32, 8
)

// ReporterConfig is what a Reporter is made of.
type ReporterConfig struct {
	// Send has schedulers told, and must not block. False: there is nobody, so
	// that the report is to be kept.
	Send func(Report) bool
	// Every is how often; 0 is the default.
	Every time.Duration
	// Due is called before it is looked whether there is something to tell. Nil:
	// nothing is.
	Due func(now time.Time)
}

// Reporter gathers what one node has to tell. Make one with NewReporter; a nil one
// does nothing. Methods do not block, and may be called concurrently.
type Reporter struct {
	cfg ReporterConfig

	mu        sync.Mutex // guards what follows
	pulls     []pulls.Record
	incidents []Incident // each of another kind, about, status and reason
	checks    []api.CheckRun
	left      int
}

// NewReporter makes one of nothing.
func NewReporter(cfg ReporterConfig) *Reporter {
	if cfg.Every <= 0 {
		cfg.Every = reportEvery
	}
	if cfg.Due == nil {
		cfg.Due = func(time.Time) {}
	}
	return &Reporter{cfg: cfg}
}

// Run tells until ctx ends. Nodes that begin together tell at different times.
func (r *Reporter) Run(ctx context.Context) error {
	first := time.NewTimer(rand.N(r.cfg.Every))
	defer first.Stop()
	select {
	case <-first.C:
	case <-ctx.Done():
		return nil
	}
	tick := time.NewTicker(r.cfg.Every)
	defer tick.Stop()
	for {
		r.cfg.Due(time.Now())
		r.tell()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tell sends one report, if there is something to tell, and somebody.
func (r *Reporter) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, i, c := min(len(r.pulls), PullsMost), min(len(r.incidents), IncidentsMost), min(len(r.checks), ChecksMost)
	if p+i+c+r.left == 0 {
		return
	}
	if !r.cfg.Send(Report{Pulls: slices.Clone(r.pulls[:p]), Incidents: slices.Clone(r.incidents[:i]), Checks: slices.Clone(r.checks[:c]), LeftOut: r.left}) {
		return
	}
	r.pulls, r.incidents, r.checks, r.left = slices.Delete(r.pulls, 0, p), slices.Delete(r.incidents, 0, i), slices.Delete(r.checks, 0, c), 0
}

// Ended takes a pull.
func (r *Reporter) Ended(p pulls.Record) {
	if r == nil {
		return
	}
	if n := len(p.Blobs) - BlobsMost; n > 0 {
		p.Blobs, p.More = slices.Clone(p.Blobs[:BlobsMost]), p.More+n
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pulls = keep(r, r.pulls, p, pullsKept)
}

// Checked takes the result of a check.
func (r *Reporter) Checked(run api.CheckRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks = keep(r, r.checks, cleanRun(run), checksKept)
}

// Happened takes an incident. Last and Times are set here; one that waits
// already is counted.
func (r *Reporter) Happened(now time.Time, one Incident) {
	if r == nil {
		return
	}
	one.About, one.Reason, one.Advice = Clean(one.About, NameMost), Clean(one.Reason, TextMost), Clean(one.Advice, TextMost)
	one.Last, one.Times = now, 1
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.incidents {
		if same := &r.incidents[i]; same.key() == one.key() {
			same.Last = now
			same.Times++
			return
		}
	}
	r.incidents = keep(r, r.incidents, one, incidentsKept)
}

// keep appends, and gives the oldest up for it if there are too many. r.mu is
// held.
func keep[T any](r *Reporter, all []T, one T, most int) []T {
	if len(all) >= most {
		all = slices.Delete(all, 0, 1)
		r.left++
	}
	return append(all, one)
}

// incidentKey is what incidents have in common that are told as one.
type incidentKey struct {
	kind, about, reason string
	status              int
}

func (i *Incident) key() incidentKey { return incidentKey{i.Kind, i.About, i.Reason, i.Status} }

// Noted implements journal.Listener: what was false is told.
func (r *Reporter) Noted(name string, at time.Time, k journal.Kind, text string) {
	if k == journal.False {
		r.Happened(at, Incident{Kind: api.IncidentVerify, About: name, Reason: text})
	}
}

// Settled implements journal.Listener.
func (*Reporter) Settled(string, []journal.Given) {}

var _ journal.Listener = (*Reporter)(nil)

// ImageName is what people call an image: HOST/REPOSITORY:TAG, or by its digest
// where tag is empty.
func ImageName(of pulls.Name, tag string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s", of.Host, of.Repo)
	if tag != "" {
		return b.String() + ":" + tag
	}
	return b.String() + "@" + of.Digest.String()
}
