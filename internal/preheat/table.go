package preheat

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// maxJobs bounds the jobs that are remembered, and maxResults the nodes of all
	// of them: about 10 MiB, which schedulers tell each other when one comes up.
	// Past either the jobs that ended first are forgotten.
	maxJobs    = 256
	maxResults = 50_000
	// maxRunning bounds the jobs that run at once. A cluster whose pipelines start
	// more is told to wait.
	maxRunning = 64
	// keepFor is how long a job is remembered once it has ended.
	keepFor = 24 * time.Hour
	// tellAgain is how long a node may be silent until it is told again: one that
	// was started anew knows nothing.
	tellAgain = 10 * time.Second
	// deafAfter is how long one may be silent although it is told.
	deafAfter = time.Minute
	// goneAfter is how long one may be without a stream: a restart takes less.
	goneAfter = 2 * time.Minute
)

// Table is the jobs that a scheduler knows. It is driven by its methods alone:
// equal calls give equal tables. It is not safe for concurrent use.
type Table struct {
	jobs map[scheduler.PreheatJob]*Job
}

// NewTable makes an empty table.
func NewTable() *Table { return &Table{jobs: make(map[scheduler.PreheatJob]*Job)} }

// Add puts in a new job; false if its number is taken, or too many run.
func (t *Table) Add(j *Job) bool {
	if t.jobs[j.ID] != nil || t.running() >= maxRunning {
		return false
	}
	t.jobs[j.ID] = j
	return true
}

func (t *Table) running() (n int) {
	for _, j := range t.jobs {
		if j.running() {
			n++
		}
	}
	return n
}

// Twin is a job that is under way and does what another would: it asks for the same
// and names the image by digest, or has not looked its tag up yet. One with a
// credential of its own is nobody's twin.
func (t *Table) Twin(s *Spec) *Job {
	for _, j := range t.byAge() {
		if j.running() && !j.Secret && j.Spec.same(s) && (s.pinned() || j.Digest == "") {
			return j
		}
	}
	return nil
}

// byAge are the jobs, the newest first.
func (t *Table) byAge() []*Job {
	all := make([]*Job, 0, len(t.jobs))
	for _, j := range t.jobs {
		all = append(all, j)
	}
	slices.SortFunc(all, func(a, b *Job) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Begin notes what an image is made of and who gets it.
func (t *Table) Begin(id scheduler.PreheatJob, now time.Time, d piece.Digest, variants []Variant, targets []scheduler.Peer) {
	j := t.jobs[id]
	if j == nil || !j.running() || j.State != api.PreheatPending {
		return
	}
	j.Digest, j.Variants = d.String(), variants
	for _, p := range targets {
		n := newNode(p)
		for _, b := range j.blobs(n) {
			n.OfBlobs, n.OfBytes = n.OfBlobs+1, n.OfBytes+b.Size
		}
		if j.Spec.cannot(p) {
			n.State, n.Error = api.PreheatFailed, errNoRuntime.Error()
		}
		j.Nodes = append(j.Nodes, n)
	}
	slices.SortFunc(j.Nodes, func(a, b *Node) int { return cmp.Compare(a.Peer, b.Peer) })
	j.State, j.Spec.Labelled = api.PreheatRunning, j.Spec.Labelled.spent()
	j.revise(now)
}

func (j *Job) revise(now time.Time) { j.Revision, j.Updated = j.Revision+1, now }

// End ends a job, if it runs.
func (t *Table) End(id scheduler.PreheatJob, now time.Time, state, why string) {
	if j := t.jobs[id]; j != nil && j.running() {
		j.State, j.Error, j.Ended, j.Spec.Labelled = state, why, now, j.Spec.Labelled.spent()
		j.revise(now)
	}
}

// Report takes what a node says. What comes after the end changes nothing.
func (t *Table) Report(r scheduler.PreheatReport, now time.Time) {
	j := t.jobs[r.Job]
	if j == nil || !j.running() {
		return
	}
	n := j.node(r.Peer)
	if n == nil {
		return
	}
	n.heard = now
	said := &Node{State: api.PreheatFetching, Blobs: min(r.Blobs, n.OfBlobs), Bytes: min(r.Bytes, n.OfBytes), Error: r.Error}
	if r.Unpacking {
		said.State = api.PreheatUnpacking
	}
	switch r.State {
	case scheduler.PreheatDone:
		said.State, said.Blobs, said.Bytes = api.PreheatDone, n.OfBlobs, n.OfBytes
	case scheduler.PreheatFailed:
		said.State = api.PreheatFailed
		if !r.Failed.IsZero() {
			said.Failed = r.Failed.String()
		}
	}
	if n.further(said) {
		n.take(said)
		j.Updated = now
	}
}

// Drive gives up on nodes that cannot be reached or are late, ends the job if all
// nodes have, and names those that are to be told now. attached says who can be;
// whoever calls it drives the job. changed says that the other schedulers must
// know.
func (t *Table) Drive(id scheduler.PreheatJob, now time.Time, attached map[scheduler.PeerID]bool) (tell []*Node, changed bool) {
	j := t.jobs[id]
	if j == nil || !j.running() {
		return nil, false
	}
	late := now.Sub(j.Created) > j.Spec.Timeout
	if j.State == api.PreheatPending {
		if late {
			t.End(id, now, api.PreheatFailed, fmt.Sprintf("the image was not looked up within %v", j.Spec.Timeout))
		}
		return nil, late
	}
	all := true
	for _, n := range j.Nodes {
		if n.ended() {
			continue
		}
		if why := n.lost(now, attached[n.Peer]); why != "" {
			n.State, n.Error, changed = api.PreheatFailed, why, true
		} else if late {
			n.State, n.Error, changed = api.PreheatFailed, fmt.Sprintf("not done within %v", j.Spec.Timeout), true
		} else if all = false; n.due(now) && attached[n.Peer] {
			if n.told.IsZero() {
				n.told = now
			}
			n.toldLast = now
			tell = append(tell, n)
		}
	}
	if all {
		state, why := j.outcome()
		t.End(id, now, state, why)
		return nil, true
	}
	if changed {
		j.revise(now)
	}
	return tell, changed
}

// due reports whether a node that is attached is to be told, for the first time or
// again.
func (n *Node) due(now time.Time) bool {
	return now.Sub(n.toldLast) > tellAgain && now.Sub(n.heard) > tellAgain
}

// lost says why there is no use in waiting for a node any longer.
func (n *Node) lost(now time.Time, attached bool) string {
	if attached {
		n.gone = time.Time{}
		if !n.told.IsZero() && now.Sub(n.told) > deafAfter && now.Sub(n.heard) > deafAfter {
			return "it does not answer: is its p2pd older than its scheduler?"
		}
		return ""
	}
	if n.gone.IsZero() {
		n.gone = now
	}
	n.told = time.Time{} // it has as much time when it is back
	if now.Sub(n.gone) > goneAfter {
		return fmt.Sprintf("it is offline: no stream to the scheduler for %v", goneAfter)
	}
	return ""
}

// outcome sums up a job of which all nodes have ended.
func (j *Job) outcome() (state, why string) {
	var failed []string
	for _, n := range j.Nodes {
		if n.State == api.PreheatFailed {
			failed = append(failed, n.called()+": "+n.Error)
		}
	}
	if len(failed) == 0 {
		return api.PreheatSucceeded, ""
	}
	const named = 3
	more := ""
	if len(failed) > named {
		more = fmt.Sprintf("; and %d more", len(failed)-named)
	}
	return api.PreheatFailed, fmt.Sprintf("%d of %d nodes failed: %s%s", len(failed), len(j.Nodes), strings.Join(failed[:min(named, len(failed))], "; "), more)
}

// Merge learns what another scheduler knows of a job, and reports whether that ends
// one that ran here.
func (t *Table) Merge(o *Job) (ended bool) {
	j := t.jobs[o.ID]
	if j == nil {
		t.jobs[o.ID] = o.clone()
		return false
	}
	was := j.running()
	newer := was && (!o.running() || o.Revision > j.Revision)
	for _, n := range o.Nodes {
		if mine := j.node(n.Peer); mine != nil && mine.further(n) && (was || newer) {
			mine.take(n)
		} else if mine == nil && len(j.Nodes) > 0 {
			newer = false // two began it; the nodes of one are enough
		}
	}
	if newer {
		nodes := j.Nodes
		if len(nodes) == 0 {
			nodes = o.clone().Nodes
		}
		spec := j.Spec // of a scheduler before this version it may be less
		*j = *o
		j.Spec, j.Nodes = spec, nodes
	}
	if j.State != api.PreheatPending {
		j.Spec.Labelled = j.Spec.Labelled.spent()
	}
	return was && !j.running()
}

// Forget drops what ended long ago, and what there is no room for.
func (t *Table) Forget(now time.Time) {
	results := 0
	kept := 0
	for _, j := range t.byAge() {
		results += len(j.Nodes)
		kept++
		if !j.running() && (kept > maxJobs || results > maxResults || now.Sub(j.Ended) > keepFor) {
			delete(t.jobs, j.ID)
			results -= len(j.Nodes)
			kept--
		}
	}
}
