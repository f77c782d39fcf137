package faults

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// Report writes what was done and what the judges say. It reports whether
// everything is well.
func Report(w io.Writer, h History, verdicts []Verdict) bool {
	counts := make(map[Kind]int)
	for _, f := range h.Faults {
		counts[f.Kind]++
	}
	fmt.Fprintf(w, "seed %d, %v, %d pulls, %d faults:", h.Seed, h.End.Sub(h.Start).Round(time.Second), len(h.Pulls), len(h.Faults))
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, " %s %d", k, counts[k])
	}
	var mirror, direct int64
	for _, p := range h.Pulls {
		mirror, direct = mirror+p.Mirror, direct+p.Direct
	}
	fmt.Fprintf(w, "\nclients got %d MiB through p2pd and %d MiB past it\n", mirror>>20, direct>>20)
	well := true
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "promise\twhat\tlooked at\tviolations\t")
	for _, v := range verdicts {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", v.Promise, v.What, v.Checked, len(v.Violations), v.Note)
		well = well && len(v.Violations) == 0 && v.Checked >= v.Least
	}
	if err := t.Flush(); err != nil {
		return false
	}
	for _, v := range verdicts {
		for _, violation := range v.Violations[:min(len(v.Violations), maxViolations)] {
			fmt.Fprintf(w, "%s violated: %s\n", v.Promise, violation)
		}
		if v.Checked < v.Least {
			fmt.Fprintf(w, "%s was not tried\n", v.Promise)
		}
	}
	return well
}
