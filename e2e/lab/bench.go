package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Figure prints a number as all benchmarks do.
func Figure(w io.Writer, name string, value float64, unit string) {
	fmt.Fprintf(w, "FIGURE %s %.4g %s\n", name, value, unit)
}

// Phase is a part of a benchmark that can be asked for by its name.
type Phase struct {
	Name string
	Run  func(context.Context) error
}

// PhaseNames are the names of phases, with commas between them.
func PhaseNames(phases []Phase) string {
	names := make([]string, len(phases))
	for i, p := range phases {
		names[i] = p.Name
	}
	return strings.Join(names, ",")
}

// RunPhases runs those of phases that names has, one after the other, in the order
// of names. A name that is none fails it before anything runs.
func RunPhases(ctx context.Context, phases []Phase, names string) error {
	var chosen []Phase
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(phases, func(p Phase) bool { return p.Name == name })
		if i < 0 {
			return fmt.Errorf("there is no %q; there are %s", name, PhaseNames(phases))
		}
		chosen = append(chosen, phases[i])
	}
	for _, p := range chosen {
		fmt.Fprintln(os.Stderr, p.Name)
		if err := p.Run(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}
