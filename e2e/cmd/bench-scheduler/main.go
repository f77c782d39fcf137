// Command bench-scheduler measures the scheduler alone: a real scheduler process
// on loopback, and as many peers as it is told to bear, each with a connection
// and a stream of its own, that join one image within a second and then report as
// often as they are asked to, as those of a pull do. No byte of content moves. Before,
// it measures a server that does nothing but answer. It prints one line for each
// number:
//
//	FIGURE scheduler.join_p99_ms 31 ms
//
// bench/README.md says how each number is made. It needs no root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

func main() {
	lab.Main("bench-scheduler", func(ctx context.Context) error {
		if spec, ok := os.LookupEnv(bareEnv); ok {
			return serveBare(ctx, spec)
		}
		return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	})
}

// loadGC has this process collect its garbage a quarter as often as by default: what
// it does is the work of ten thousand machines, and takes the scheduler's cores.
const loadGC = 400

// options are the command line's.
type options struct {
	peers  int
	layers int
	size   lab.Size
	steady time.Duration
	// profiles is the folder for what the scheduler's CPU and memory went to; empty: none.
	profiles string
}

func run(ctx context.Context, args []string, out, log io.Writer) (err error) {
	o := options{size: 64 << 20}
	f := flag.NewFlagSet("bench-scheduler", flag.ContinueOnError)
	f.IntVar(&o.peers, "peers", 10_000, "peers with a stream each")
	f.IntVar(&o.layers, "layers", 20, "layers of the image that all join")
	f.TextVar(&o.size, "layer-size", o.size, "bytes of each")
	f.DurationVar(&o.steady, "steady", 10*time.Second, "how long they are watched reporting")
	f.StringVar(&o.profiles, "profiles", "", "write the scheduler's CPU profile from the joins on, and one of its memory at the end, to this folder")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.peers < 1 || o.layers < 1 || o.size < 1 {
		return errors.New("peers, layers and layer-size must be at least 1")
	}
	debug.SetGCPercent(loadGC)
	programs, remove, err := lab.BuildOnce(ctx)
	if err != nil {
		return err
	}
	defer remove()
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: 1}, Rootless: true, Programs: programs})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	b := &bench{options: o, out: out, log: log, lab: l}
	return b.run(ctx)
}
