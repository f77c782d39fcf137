package sim

import (
	"errors"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Config is one run: one image, the nodes that want it, and the lines between.
// Rates are in bytes a second.
type Config struct {
	Nodes  int
	Size   int64 // of the image
	Layers int   // of equal size
	Seed   uint64

	Up, Down float64 // each node's
	Origin   float64 // the origin's, and
	// PerConnection what it gives one read; 0: whatever there is.
	PerConnection float64

	Zones            int     // 0 or 1: nobody knows of any
	Oversubscription float64 // of a zone's line: its nodes' rates over its own
	RackSize         int     // nodes

	// Arrivals is the span in which the nodes of a wave begin.
	Arrivals time.Duration
	Waves    int // the next begins when the last is through

	Stragglers    float64 // share of nodes
	StragglerRate float64 // theirs, of what others have
	Dying         float64 // share of nodes that die in mid-pull

	// One way.
	InRack, InZone, BetweenZones, ToScheduler, ToOrigin time.Duration

	// Concurrency is how many layers a client takes at a time.
	Concurrency int
	// Prefetch: a node begins with all layers at once.
	Prefetch bool

	Scheduler scheduler.Config
	// Limit is the virtual time after which a run is given up.
	Limit time.Duration
}

// Result is what a run showed.
type Result struct {
	Makespan, Bound time.Duration
	P50, P99        time.Duration // of the nodes' own times
	OriginCopies    float64       // bytes from the origin, over the image's
	// CrossCopies is what came into a zone from peers of others, over the
	// image's bytes, in the mean of the zones.
	CrossCopies  float64
	MsgsPerNode  float64 // sent to the scheduler
	SchedulerCPU time.Duration
	Hedges, Busy int64
	SelfReads    int64   // pieces that peers took from the origin unasked
	Wasted       float64 // bytes that came twice, over the image's
	Died         int
	Events       int64
}

// ErrConfig is wrapped by the errors of Run for what cannot be simulated.
var ErrConfig = errors.New("cannot be simulated")

// Run simulates until every node that lives has the image.
func Run(cfg Config) (Result, error) {
	if err := cfg.check(); err != nil {
		return Result{}, err
	}
	w, err := newWorld(cfg)
	if err != nil {
		return Result{}, err
	}
	if err := w.run(); err != nil {
		return Result{}, err
	}
	return w.result(), nil
}

func (w *world) result() Result {
	r := Result{
		Bound:        w.bound(),
		OriginCopies: float64(w.stats.originBytes) / float64(w.cfg.Size),
		CrossCopies:  float64(w.stats.crossBytes) / float64(w.cfg.Size) / float64(len(w.zones)),
		MsgsPerNode:  float64(w.stats.messages) / float64(len(w.nodes)),
		SchedulerCPU: w.stats.schedulerCPU, Hedges: w.stats.hedges, Busy: w.stats.busy, SelfReads: w.stats.selfReads,
		Wasted: float64(w.stats.wasted) / float64(w.cfg.Size), Events: w.stats.events,
	}
	var times []time.Duration
	for _, n := range w.nodes {
		if n.ends == 0 {
			r.Died++
			continue
		}
		r.Makespan = max(r.Makespan, time.Duration(n.ends))
		times = append(times, time.Duration(n.ends-n.arrives))
	}
	slices.Sort(times)
	if len(times) > 0 {
		r.P50, r.P99 = times[(len(times)-1)/2], times[(len(times)*99+99)/100-1]
	}
	return r
}
