package faults

import (
	"fmt"
	"slices"
	"time"
)

// The bounds that are judged by.
const (
	// maxCopies is how often the origin may send each byte that all nodes pull
	// at once while nothing is wrong.
	maxCopies = 1.05
	// maxCopiesAlone is the same with no scheduler.
	maxCopiesAlone = 2.0
	// maxCopiesMisread is the same while one of the nodes reads falsely, without what
	// clients read past p2pd: all is read once, what others gave again by two that repair
	// it, and twice by the node that reads it falsely (docs/adr/0017). It does not grow
	// with the number of nodes.
	maxCopiesMisread = 5.0
	// maxRSS and maxFiles are of a p2pd or a scheduler. The documented bound is
	// 200 MiB with 16 layers in flight.
	maxRSS        = 200 << 20
	maxFiles      = 1024
	maxGoroutines = 5000
	// maxPull is no bound on performance: what takes longer hangs. A body may
	// stop for as long as a fault lasts, and be resumed at an origin that fails.
	maxPull = 60 * time.Second
	// aftermath is how long what a fault broke may still fail: a connection
	// that ran into it is noticed by a time-out.
	aftermath = 5 * time.Second
	// maxViolations is how many are told of each kind.
	maxViolations = 20
)

// Verdict is what a judge found.
type Verdict struct {
	Promise string
	What    string // the promise in a few words
	Checked int    // how many things were looked at
	// Least is how many there must be for the promise to have been tried.
	Least      int
	Violations []string
	Note       string
}

func (v *Verdict) violated(format string, args ...any) {
	v.Violations = append(v.Violations, fmt.Sprintf(format, args...))
}

// Judge looks at a history with all judges.
func Judge(h History) []Verdict {
	return []Verdict{judgeBytes(h), judgeOrigin(h), judgeOnce(h), judgeAccess(h), judgeBounds(h), judgeSchedulers(h), judgeFaults(h)}
}

// judgeBytes is G1: what arrives is what was asked for, or the transfer fails.
func judgeBytes(h History) Verdict {
	v := Verdict{Promise: "G1", What: "the bytes asked for, or a visible failure", Least: 1}
	for _, p := range h.Pulls {
		if p.Mirror > 0 || p.Got != "" {
			v.Checked++
		}
		if p.MirrorEnded && p.MirrorGot != p.Digest {
			v.violated("node %d at %s: p2pd ended %s of %d bytes well with %s", p.Node, h.at(p.End), p.Digest, p.Size, p.MirrorGot)
		}
		if p.Err == "" && p.Got != p.Digest {
			v.violated("node %d at %s: asked for %s, got %s: %d bytes from p2pd, %d from the origin",
				p.Node, h.at(p.End), p.Digest, p.Got, p.Mirror, p.Direct)
		}
	}
	v.Note = fmt.Sprintf("%d false pieces were caught, and %d false blobs",
		h.most(func(s Sample) int64 { return s.FalsePieces }), h.most(func(s Sample) int64 { return s.FalseBlobs }))
	return v
}

// most adds up the most that a sample of each process says of something that is
// counted for a life of it.
func (h History) most(of func(Sample) int64) (sum int64) {
	most := make(map[string]int64)
	for _, s := range h.Samples {
		most[s.Process] = max(most[s.Process], of(s))
	}
	for _, n := range most {
		sum += n
	}
	return sum
}

// judgeOrigin is G2: whatever is wrong with p2pd, a pull succeeds if the origin
// works, and none hangs.
func judgeOrigin(h History) Verdict {
	v := Verdict{Promise: "G2", What: "pulls succeed while the origin works", Least: 1}
	excused, misled := 0, h.misled()
	for i, p := range h.Pulls {
		v.Checked++
		took := p.End.Sub(p.Start)
		if took > maxPull {
			v.violated("node %d at %s: %s took %v (%s)", p.Node, h.at(p.Start), p.Digest, took.Round(time.Millisecond), p.Err)
		}
		if p.Err == "" {
			continue
		}
		if misled[i] {
			continue
		}
		if h.excuse(p) {
			excused++
			continue
		}
		v.violated("node %d, %s to %s: %s failed while the origin worked: %s (p2pd: %s)", p.Node, h.at(p.Start), h.at(p.End), p.Digest, p.Err, p.MirrorSaid)
	}
	v.Note = fmt.Sprintf("%d failed while the origin did, %d once because a node had read falsely", excused, len(misled))
	return v
}

// misled are the pulls, by their place in the history, that failed because the client
// saw that the bytes were false, as a node had read them so: what was pulled while one
// did, and once on each node. What failed while the origin did does not count: p2pd had
// not had all of the blob, and could not know.
func (h History) misled() map[int]bool {
	spoilt := make(map[string]bool) // digests
	for _, p := range h.Pulls {
		if h.during(p, aftermath, func(f Fault) bool { return f.Kind == NodeMisread }) {
			spoilt[p.Digest] = true
		}
	}
	type once struct {
		node   int
		digest string
	}
	seen, misled := make(map[once]bool), make(map[int]bool)
	for i, p := range h.Pulls {
		if key := (once{p.Node, p.Digest}); p.misled() && spoilt[p.Digest] && !seen[key] && !h.excuse(p) {
			seen[key], misled[i] = true, true
		}
	}
	return misled
}

// during reports whether a pull ran while such a fault was in force, or its aftermath.
func (h History) during(p Pull, aftermath time.Duration, is func(Fault) bool) bool {
	return slices.ContainsFunc(h.Faults, func(f Fault) bool {
		return is(f) && p.Start.Before(f.End.Add(aftermath)) && p.End.After(f.Start)
	})
}

// excuse reports whether the origin, or the node's way to it, was broken while a
// pull ran.
func (h History) excuse(p Pull) bool {
	return h.during(p, aftermath, func(f Fault) bool {
		return slices.Contains(originFaults, f.Kind) || f.Kind == NodeCut && slices.Contains(f.Nodes, p.Node)
	})
}

// judgeOnce is G3.
func judgeOnce(h History) Verdict {
	v := Verdict{Promise: "G3", What: fmt.Sprintf("each byte from the origin once (%.2f)", maxCopies), Least: 1}
	worst, worstMisread := 0.0, 0.0
	for _, q := range h.Quiets {
		if q.Bytes == 0 {
			continue
		}
		v.Checked++
		origin := q.Origin
		if q.Misread {
			origin -= h.past(q)
		}
		copies, most := float64(origin)/float64(q.Bytes), maxCopies
		switch {
		case q.NoScheduler:
			most = maxCopiesAlone
		case q.Misread:
			most, worstMisread = maxCopiesMisread, max(worstMisread, copies)
		default:
			worst = max(worst, copies)
		}
		if copies > most {
			v.violated("quiet period %d at %s: the origin sent %.3f copies to %d nodes (no scheduler: %v, one reads falsely: %v)",
				q.Number, h.at(q.Start), copies, q.Nodes, q.NoScheduler, q.Misread)
		}
	}
	v.Note = fmt.Sprintf("at most %.3f; %.3f while a node read falsely", worst, worstMisread)
	return v
}

// past is what clients had from the origin themselves in a quiet period.
func (h History) past(q Quiet) (sum int64) {
	for _, p := range h.Pulls {
		if p.Quiet == q.Number && !p.Start.Before(q.Start) && !p.End.After(q.End) {
			sum += p.Direct
		}
	}
	return sum
}

// judgeAccess is G4.
func judgeAccess(h History) Verdict {
	v := Verdict{Promise: "G4", What: "nothing for those whom the origin refuses", Least: 1}
	rightful := 0
	for _, i := range h.Intrusions {
		if i.Rightful {
			if i.Status == 200 {
				rightful++
			}
			continue
		}
		if i.Status != 0 {
			v.Checked++
		}
		if i.Status/100 == 2 {
			v.violated("node %d at %s: %s was given to %s", i.Node, h.at(i.At), i.Digest, i.As)
		}
	}
	if rightful == 0 {
		v.violated("nobody got any of it with the right password, so that nothing was tried")
	}
	v.Note = fmt.Sprintf("%d given to who may", rightful)
	return v
}

// judgeBounds is G5.
func judgeBounds(h History) Verdict {
	v := Verdict{Promise: "G5", What: "memory, files, goroutines and the store are bounded", Least: 1}
	var most Sample
	for _, s := range h.Samples {
		v.Checked++
		most.RSS, most.Files, most.Goroutines = max(most.RSS, s.RSS), max(most.Files, s.Files), max(most.Goroutines, s.Goroutines)
		if s.RSS > maxRSS || s.Files > maxFiles || s.Goroutines > maxGoroutines {
			v.violated("%s at %s: %d MiB, %d files, %d goroutines", s.Process, h.at(s.At), s.RSS>>20, s.Files, s.Goroutines)
		}
		if s.StoreBytes > s.Capacity {
			v.violated("%s at %s: %d bytes in a store of %d", s.Process, h.at(s.At), s.StoreBytes, s.Capacity)
		}
	}
	relayed := h.most(func(s Sample) int64 { return s.Relayed })
	v.Note = fmt.Sprintf("at most %d MiB, %d files, %d goroutines; %d MiB went past full stores", most.RSS>>20, most.Files, most.Goroutines, relayed>>20)
	return v
}

// judgeSchedulers is G7: pulls that run while no scheduler does, or not all do, succeed.
func judgeSchedulers(h History) Verdict {
	v := Verdict{Promise: "G7", What: "pulls succeed with every scheduler down, or one", Least: 1}
	inOneOf := func(p Pull, kinds ...Kind) bool {
		return slices.ContainsFunc(h.Faults, func(f Fault) bool {
			return slices.Contains(kinds, f.Kind) && !p.Start.Before(f.Start) && !p.End.After(f.End)
		})
	}
	one, misled := 0, h.misled()
	for i, p := range h.Pulls {
		switch {
		case inOneOf(p, SchedulersKill, SchedulersCut, everyScheduler):
			v.Checked++
		case inOneOf(p, schedulerFaults...):
			one++
		default:
			continue
		}
		if p.Err != "" && !misled[i] && !h.excuse(p) {
			v.violated("node %d at %s: %s failed: %s", p.Node, h.at(p.Start), p.Digest, p.Err)
		}
	}
	v.Note = fmt.Sprintf("and %d with one of them killed, frozen, cut off or with another time", one)
	return v
}

// judgeFaults is about the run itself: a fault that did not happen proves
// nothing.
func judgeFaults(h History) Verdict {
	v := Verdict{Promise: "run", What: "the faults happened", Least: 1}
	for _, f := range h.Faults {
		v.Checked++
		if f.Err != "" {
			v.violated("%s of %v at %s: %s", f.Kind, f.Nodes, h.at(f.Start), f.Err)
		}
	}
	return v
}

// at is when in the run something happened.
func (h History) at(t time.Time) string { return t.Sub(h.Start).Round(10 * time.Millisecond).String() }
