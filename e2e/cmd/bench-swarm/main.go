// Command bench-swarm measures p2pd from outside: real p2pd processes in
// network namespaces with shaped links, a real registry as the origin, and a
// small OCI client on every node, all started at the same instant. It prints
// one line for each number:
//
//	FIGURE swarm.cold.makespan_over_bound 1.12 ratio
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
	lab.Main("bench-swarm", func(ctx context.Context) error { return run(ctx, os.Args[1:], os.Stdout) })
}

// options are the command line's.
type options struct {
	lab.Shape
	size   lab.Size
	layers int
	phases string
	flat   lab.Size
	// profiles is a folder for the nodes' CPU profiles in the cold phase.
	profiles string
}

func parse(args []string) (options, error) {
	o := options{Shape: lab.Shape{NodeRate: 100e6, OriginRate: 200e6}, size: 200 << 20}
	f := flag.NewFlagSet("bench-swarm", flag.ContinueOnError)
	f.IntVar(&o.Nodes, "nodes", 16, "nodes that pull at once")
	f.TextVar(&o.size, "size", o.size, "bytes of the image")
	f.TextVar(&o.NodeRate, "node-rate", o.NodeRate, "rate of each node's link, both ways; 0: unshaped")
	f.TextVar(&o.OriginRate, "origin-rate", o.OriginRate, "rate of the origin's link, both ways; 0: unshaped")
	f.IntVar(&o.layers, "layers", 1, "layers of the image, of equal size")
	f.StringVar(&o.phases, "phases", allPhases, "what to measure, by commas")
	f.TextVar(&o.flat, "flat", lab.Size(0), "instead: pull one layer of this size over 1 Gbit/s and measure memory, for instance 4GiB")
	f.StringVar(&o.profiles, "cpuprofile", "", "write each node's CPU profile of the cold phase's first seconds to this folder")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	programs, remove, err := lab.BuildOnce(ctx)
	if err != nil {
		return err
	}
	defer remove()
	b := &bench{options: o, programs: programs, out: out}
	if o.flat > 0 {
		return b.flatMemory(ctx)
	}
	return b.swarm(ctx)
}
