// Command bench-peer measures how fast one p2pd that has a layer gives it to
// one that does not, over a link that nobody slows, against what a bare
// crypto/tls copy and a bare sendfile move on the same link in the same run;
// what that costs in CPU on either side; and how much memory many layers at
// once take. Real p2pd processes and a real registry in network namespaces.
// It prints one line for each number:
//
//	FIGURE peer.tls_throughput_over_crypto_tls 0.8 ratio
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
	lab.Main("bench-peer", func(ctx context.Context) error {
		if spec, ok := os.LookupEnv(copyEnv); ok {
			return runCopy(ctx, spec)
		}
		return run(ctx, os.Args[1:], os.Stdout)
	})
}

type bench struct {
	size     lab.Size
	pairs    int
	profile  string
	programs lab.Programs
	out      io.Writer

	seed uint64 // of the last image made: no image is pulled cold twice
}

// phases are what can be measured, in the order in which that is done.
func (b *bench) phases() []lab.Phase {
	return []lab.Phase{
		{Name: "tls", Run: b.tls},
		{Name: "clear", Run: b.clear},
		{Name: "many", Run: b.many},
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	b := &bench{size: 1 << 30, out: out}
	f := flag.NewFlagSet("bench-peer", flag.ContinueOnError)
	f.TextVar(&b.size, "size", b.size, "bytes of the layer")
	f.IntVar(&b.pairs, "pairs", 3, "transfers of each kind, of which the median counts")
	f.StringVar(&b.profile, "cpuprofile", "", "folder for CPU profiles of both p2pds")
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
