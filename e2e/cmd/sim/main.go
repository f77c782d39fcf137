// Command sim runs the simulator of pkg/scheduler/sim and prints its figures.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler/sim"
)

func main() {
	nodes := flag.Int("nodes", 1000, "")
	size := flag.Int64("size", 1<<30, "")
	seed := flag.Uint64("seed", 1, "")
	only := flag.String("only", "", "")
	prof := flag.String("cpuprofile", "", "")
	flag.Parse()
	if *prof != "" {
		f, _ := os.Create(*prof)
		pprof.StartCPUProfile(f)
		defer pprof.StopCPUProfile()
	}
	for _, s := range sim.Scenarios() {
		if *only != "" && !strings.Contains(","+*only+",", ","+s.Name+",") {
			continue
		}
		began := time.Now()
		r, err := sim.Run(s.Config(*nodes, *size, *seed))
		if err != nil {
			fmt.Println(s.Name, err)
			continue
		}
		fmt.Printf("%-12s %.3f p99/p50 %.3f copies %.3f cross %.2f msgs %.1f cpu %v bound %v makespan %v p50 %v hedges %d busy %d self %d wasted %.2f died %d events %d wall %v\n", s.Name, r.Makespan.Seconds()/r.Bound.Seconds(), r.P99.Seconds()/r.P50.Seconds(), r.OriginCopies, r.CrossCopies, r.MsgsPerNode, r.SchedulerCPU.Round(time.Millisecond), r.Bound.Round(time.Millisecond), r.Makespan.Round(time.Millisecond), r.P50.Round(time.Millisecond), r.Hedges, r.Busy, r.SelfReads, r.Wasted, r.Died, r.Events, time.Since(began).Round(time.Millisecond))
	}
}
