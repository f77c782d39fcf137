// Command bench-harm measures how much later than a pull from the registry one
// through p2pd ends when all that is peer to peer is broken: schedulers that are
// dead, hang or cannot be reached, and peers that are dead, hang, cannot be
// reached, trickle or lie, all of them at once. Real p2pd processes and a real
// registry in network namespaces. It prints one line for each harm:
//
//	FIGURE harm.peers_frozen.later_s 1.2 s
//
// bench/README.md says how each number is made. It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/p2pd/p2pd/e2e/faults"
	"github.com/p2pd/p2pd/e2e/lab"
)

func main() {
	lab.Main("bench-harm", func(ctx context.Context) error { return run(ctx, os.Args[1:], os.Stdout) })
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var programs lab.Programs
	var phases []lab.Phase
	for _, h := range faults.Harms() {
		phases = append(phases, lab.Phase{Name: h.Name, Run: func(ctx context.Context) error {
			later, err := inLab(ctx, programs, h)
			if err == nil {
				lab.Figure(out, "harm."+h.Name+".later_s", later, "s")
			}
			return err
		}})
	}
	f := flag.NewFlagSet("bench-harm", flag.ContinueOnError)
	only := f.String("harms", lab.PhaseNames(phases), "what to break, one after the other, by commas")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected arguments %q", f.Args())
	}
	built, remove, err := lab.BuildOnce(ctx, "p2pd_faults")
	if err != nil {
		return err
	}
	defer remove()
	programs = built
	return lab.RunPhases(ctx, phases, *only)
}

func inLab(ctx context.Context, programs lab.Programs, h faults.Harm) (later float64, err error) {
	l, err := lab.Open(ctx, lab.Config{Shape: faults.HarmShape(), Programs: programs})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return faults.Harmed(ctx, l, h)
}
