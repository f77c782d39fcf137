package ledger

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// keptFor is how long something is remembered that does not happen again: a
	// night and the morning after.
	keptFor = 24 * time.Hour
	// imagesMost bounds the images of which pulls are remembered; with
	// slowestKept and latestKept waterfalls of BlobsMost blobs each, they take
	// 16 MiB at the very most, and one usually.
	imagesMost  = 128
	slowestKept = 4
	latestKept  = 4
	// tookKept is of how many pulls of one image the median is.
	tookKept = 256
	// incidentsMost bounds the incidents of one kind, and nodesNamed the nodes
	// of one.
	incidentsMost = 256
	nodesNamed    = 8
	// runsMost bounds the nodes whose last check is remembered: a canary on
	// each of a thousand.
	runsMost = 1024
)

// Ledger is what nodes have told one scheduler. The zero value is ready, and
// methods may be called concurrently. Each costs some microseconds.
type Ledger struct {
	mu        sync.Mutex // guards what follows
	images    recent[piece.Digest, *image]
	incidents map[string]*recent[incidentKey, *api.Incident] // by kind
	runs      recent[string, *api.CheckRun]                  // by node
	changes   int64
	left      int64
}

// Take takes what a peer tells.
func (l *Ledger) Take(now time.Time, from scheduler.Peer, r Report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	l.left += int64(max(0, r.LeftOut))
	for i := range r.Pulls {
		l.pulled(now, from, &r.Pulls[i])
	}
	for _, one := range r.Incidents {
		l.happened(now, from, one)
	}
	for _, run := range r.Checks {
		run.Peer = string(from.ID)
		run.Node = cmp.Or(from.Node, run.Node)
		l.checked(now, run)
	}
}

// Checked takes the result of a check from an operator.
func (l *Ledger) Checked(now time.Time, run api.CheckRun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changes++
	l.checked(now, run)
}

// checked remembers a run. mu is held.
func (l *Ledger) checked(now time.Time, run api.CheckRun) {
	run = cleanRun(run)
	run.At = now.UTC()
	key := cmp.Or(run.Node, run.Peer)
	if before, ok := l.runs.of(key); ok {
		run.Runs, run.Failures, run.LastSuccess = before.Runs, before.Failures, before.LastSuccess
	}
	run.Runs++
	if run.Success {
		at := run.At
		run.LastSuccess = &at
	} else {
		run.Failures++
	}
	l.runs.put(now, key, &run, runsMost)
}

// happened counts an incident. mu is held.
func (l *Ledger) happened(now time.Time, from scheduler.Peer, one Incident) {
	one.About, one.Reason, one.Advice = Clean(one.About, NameMost), Clean(one.Reason, TextMost), Clean(one.Advice, TextMost)
	if l.incidents == nil {
		l.incidents = map[string]*recent[incidentKey, *api.Incident]{api.IncidentRefusal: {}, api.IncidentVerify: {}}
	}
	all := l.incidents[one.Kind]
	if all == nil {
		return // a newer node's
	}
	last := one.Last
	if last.After(now) || last.IsZero() {
		last = now
	}
	known, ok := all.of(one.key())
	if !ok {
		known = &api.Incident{Kind: one.Kind, About: one.About, Status: one.Status, Reason: one.Reason, Nodes: []string{}, First: last.UTC()}
	}
	known.Advice = one.Advice
	known.Times += max(1, one.Times)
	if last.After(known.Last) {
		known.Last = last.UTC()
	}
	if node := nodeOf(from); !slices.Contains(known.Nodes, node) {
		if len(known.Nodes) < nodesNamed {
			known.Nodes = append(known.Nodes, node)
		} else {
			known.MoreNodes = true
		}
	}
	all.put(now, one.key(), known, incidentsMost)
}

// Incidents are those of a kind, the latest first; of all kinds if it is empty.
func (l *Ledger) Incidents(now time.Time, kind string) []api.Incident {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []api.Incident{}
	for k, some := range l.incidents {
		if kind != "" && k != kind {
			continue
		}
		for one := range some.each(now) {
			shown := *one
			shown.Nodes = slices.Clone(one.Nodes)
			all = append(all, shown)
		}
	}
	slices.SortFunc(all, func(a, b api.Incident) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.About, b.About), cmp.Compare(a.Reason, b.Reason))
	})
	return all
}

// Checks are the last runs, those that failed first, and of those the latest.
func (l *Ledger) Checks(now time.Time) []api.CheckRun {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []api.CheckRun{}
	for run := range l.runs.each(now) {
		all = append(all, *run)
	}
	slices.SortStableFunc(all, func(a, b api.CheckRun) int {
		if a.Success != b.Success {
			if b.Success {
				return -1
			}
			return 1
		}
		return 0 // each is in the order of time
	})
	return all
}

// Summary is all of it in numbers.
func (l *Ledger) Summary(now time.Time) api.Reports {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := api.Reports{Changes: l.changes, LeftOut: l.left}
	for i := range l.images.each(now) {
		s.Images++
		s.Pulls += i.sum.Pulls
		s.FailedPulls += i.sum.Failed
	}
	for kind, some := range l.incidents {
		for one := range some.each(now) {
			if kind == api.IncidentRefusal {
				s.Refusals += one.Times
			} else {
				s.VerifyFailures += one.Times
			}
		}
	}
	for run := range l.runs.each(now) {
		s.Checks++
		if !run.Success {
			s.FailedChecks++
		}
	}
	return s
}
