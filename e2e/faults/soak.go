package faults

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	// warmUp is the part of a soak that is not judged: pools fill, stores fill.
	warmUp = 0.2
	// growth is how much more a process may take in the last third of what is
	// judged than in the first, besides slack.
	growth = 1.15
)

// slack is what comes and goes with the load of a moment.
var slack = Sample{RSS: 8 << 20, Files: 16, Goroutines: 40}

// Soak pulls for a while with nothing wrong, and returns what was recorded.
func Soak(ctx context.Context, l *lab.Lab, seed uint64, length time.Duration, out io.Writer) (History, error) {
	return record(ctx, l, seed, out, func(s *stage, cat *catalog, private lab.Image) error {
		over := make(chan struct{})
		end := time.AfterFunc(length, func() { close(over) })
		defer end.Stop()
		return s.load(ctx, cat, private, seed, over)
	})
}

// JudgeSoak judges a history without faults: nothing fails, and no process takes
// more and more.
func JudgeSoak(h History) []Verdict {
	v := Verdict{Promise: "flat", What: fmt.Sprintf("no process takes more than %.2f times as much in the end", growth), Least: 1}
	of := make(map[string][]Sample)
	for _, s := range h.Samples {
		if s.At.Sub(h.Start) > time.Duration(warmUp*float64(h.End.Sub(h.Start))) {
			of[s.Process] = append(of[s.Process], s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		third := len(of[name]) / 3
		if third == 0 {
			continue
		}
		v.Checked++
		before, after := mean(of[name][:third]), mean(of[name][len(of[name])-third:])
		v.Note += fmt.Sprintf("%s %d→%d MiB, %d→%d files, %d→%d goroutines; ", name,
			before.RSS>>20, after.RSS>>20, before.Files, after.Files, before.Goroutines, after.Goroutines)
		for _, x := range []struct {
			what                 string
			before, after, slack int64
		}{
			{"bytes", before.RSS, after.RSS, slack.RSS},
			{"files", int64(before.Files), int64(after.Files), int64(slack.Files)},
			{"goroutines", int64(before.Goroutines), int64(after.Goroutines), int64(slack.Goroutines)},
		} {
			if float64(x.after) > growth*float64(x.before)+float64(x.slack) {
				v.violated("%s: %d %s at first, %d in the end", name, x.before, x.what, x.after)
			}
		}
	}
	return []Verdict{judgeBytes(h), judgeOrigin(h), judgeAccess(h), judgeBounds(h), v}
}

func mean(samples []Sample) (m Sample) {
	for _, s := range samples {
		m.RSS, m.Files, m.Goroutines = m.RSS+s.RSS, m.Files+s.Files, m.Goroutines+s.Goroutines
	}
	n := len(samples)
	m.RSS, m.Files, m.Goroutines = m.RSS/int64(n), m.Files/n, m.Goroutines/n
	return m
}
