// Command bench-node measures what one node's p2pd costs whoever pulls through
// it, against the same pull without it, in the same run: real p2pd processes
// and a real registry in network namespaces. It prints one line for each
// number:
//
//	FIGURE node.alone_over_direct 1.01 ratio
//
// bench/README.md says how each number is made. It needs root.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/p2pd/p2pd/e2e/lab"
)

func main() {
	lab.Main("bench-node", func(ctx context.Context) error { return run(ctx, os.Args[1:], os.Stdout) })
}

type bench struct {
	size     lab.Size
	pairs    int
	verbose  bool
	programs lab.Programs
	out      io.Writer

	seed uint64 // of the last image made: no image is pulled cold twice
}

// phases are what can be measured, in the order in which that is done.
func (b *bench) phases() []lab.Phase {
	return []lab.Phase{
		{Name: "alone", Run: b.alone},
		{Name: "containerd", Run: b.containerd},
		{Name: "line", Run: b.aloneOnALine},
		{Name: "capped", Run: b.capped},
		{Name: "hit", Run: b.hit},
		{Name: "small", Run: b.small},
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	b := &bench{size: 200 << 20, out: out}
	f := flag.NewFlagSet("bench-node", flag.ContinueOnError)
	f.TextVar(&b.size, "size", b.size, "bytes of the image")
	f.IntVar(&b.pairs, "pairs", 5, "pulls of each kind, of which the median counts")
	f.BoolVar(&b.verbose, "v", false, "show where the time of each pull went")
	only := f.String("phases", lab.PhaseNames(b.phases()), "what to measure, by commas")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || b.pairs < 1 {
		return fmt.Errorf("unexpected arguments %q, or fewer than one pair", f.Args())
	}
	programs, remove, err := lab.BuildOnce(ctx)
	if err != nil {
		return err
	}
	defer remove()
	b.programs = programs
	return lab.RunPhases(ctx, b.phases(), *only)
}

func (b *bench) figure(name string, value float64, unit string) {
	lab.Figure(b.out, name, value, unit)
}
