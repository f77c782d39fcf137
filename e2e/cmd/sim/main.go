// Command sim runs the simulator of pkg/scheduler/sim: whole clusters in virtual
// time over the scheduler's and the picker's own code. It prints one line for
// each number of each scenario:
//
//	FIGURE sim.flash.makespan_over_bound 1.12 ratio
//
// bench/README.md says what each is. Equal flags give equal numbers, but for the
// scheduler's CPU time. It needs no root and no network.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/pkg/scheduler/sim"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	nodes    int
	size     lab.Size
	seed     uint64
	only     string
	prefetch bool
	profile  string
}

func parse(args []string, log io.Writer) (options, error) {
	o := options{size: 1 << 30}
	f := flag.NewFlagSet("sim", flag.ContinueOnError)
	f.SetOutput(log)
	f.IntVar(&o.nodes, "nodes", 1000, "nodes that pull")
	f.TextVar(&o.size, "size", o.size, "bytes of the image; the small image has its own")
	f.Uint64Var(&o.seed, "seed", 1, "of all chance: the same seed, the same result")
	f.StringVar(&o.only, "scenarios", "", "which, by commas; empty: all of\n"+list())
	f.BoolVar(&o.prefetch, "prefetch", false, "nodes begin with all layers of the image at once")
	f.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile to this file")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, nil
}

// list is the scenarios with what they are, a line each.
func list() string {
	var b strings.Builder
	for _, s := range sim.Scenarios() {
		fmt.Fprintf(&b, "  %-12s %s\n", s.Name, s.What)
	}
	return strings.TrimRight(b.String(), "\n")
}

func run(args []string, out, log io.Writer) error {
	o, err := parse(args, log)
	if err != nil {
		return err
	}
	scenarios := sim.Scenarios()
	if o.only != "" {
		scenarios = nil
		for _, name := range strings.Split(o.only, ",") {
			s, err := sim.Find(name)
			if err != nil {
				return err
			}
			scenarios = append(scenarios, s)
		}
	}
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	for _, s := range scenarios {
		if err := simulate(s, o, out, log); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

// simulate runs one scenario and prints its figures.
func simulate(s sim.Scenario, o options, out, log io.Writer) error {
	cfg := s.Config(o.nodes, int64(o.size), o.seed)
	cfg.Prefetch = o.prefetch
	fmt.Fprintf(log, "%s: %s; %d nodes, %v in %d layers, seed %d\n", s.Name, s.What, cfg.Nodes, lab.Size(cfg.Size), cfg.Layers, cfg.Seed)
	began := time.Now()
	r, err := sim.Run(cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "%s: slowest %v, bound %v, half of the nodes within %v of their beginning; %d hedged, %d refused as busy, %d pieces from the origin unasked, %.3f copies came twice, %d died; took %v\n",
		s.Name, r.Makespan.Round(time.Millisecond), r.Bound.Round(time.Millisecond), r.P50.Round(time.Millisecond),
		r.Hedges, r.Busy, r.SelfReads, r.Wasted, r.Died, time.Since(began).Round(time.Second))
	figure := func(name string, value float64, unit string) {
		fmt.Fprintf(out, "FIGURE sim.%s.%s %.4g %s\n", s.Name, name, value, unit)
	}
	figure("makespan_over_bound", r.Makespan.Seconds()/r.Bound.Seconds(), "ratio")
	figure("p99_over_p50", r.P99.Seconds()/r.P50.Seconds(), "ratio")
	figure("origin_copies", r.OriginCopies, "ratio")
	figure("cross_zone_copies_per_zone", r.CrossCopies, "ratio")
	figure("scheduler_msgs_per_node", r.MsgsPerNode, "count")
	figure("scheduler_cpu_s", r.SchedulerCPU.Seconds(), "seconds")
	return nil
}
