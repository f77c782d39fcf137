package sim_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/pkg/scheduler/sim"
)

const mib = 1 << 20

// limits are what a scenario may cost: loose enough for a cluster of a few
// dozen nodes, where chance weighs more than among thousands, and tight enough
// that a swarm that does not share fails.
type limits struct{ makespan, copies, cross float64 }

// Every scenario ends, near the bound, and the origin gives each byte about
// once.
func TestScenarios(t *testing.T) {
	want := map[string]limits{
		"flash":       {1.3, 1.05, 0},
		"rolling":     {1.3, 1.05, 0},
		"trickle":     {1.1, 1.05, 0},
		"zones":       {1.6, 1.05, 1.2},
		"near-origin": {1.3, 3.05, 0.02},
		"stragglers":  {1.3, 1.05, 0},
		"slow-origin": {1.4, 1.05, 0},
		"churn":       {1.4, 1.10, 0},
		"small":       {1.7, 1.10, 0},
	}
	for _, s := range sim.Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			limit, ok := want[s.Name]
			if !ok {
				t.Fatal("no limits for this scenario")
			}
			r, err := sim.Run(s.Config(80, 200*mib, 7))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Makespan.Seconds() / r.Bound.Seconds(); got > limit.makespan || got < 1 {
				t.Errorf("makespan is %.3f x the bound, want 1 to %.2f", got, limit.makespan)
			}
			if r.OriginCopies > limit.copies || r.OriginCopies < 1 {
				t.Errorf("the origin gave %.3f copies, want 1 to %.2f", r.OriginCopies, limit.copies)
			}
			if r.CrossCopies > limit.cross {
				t.Errorf("%.3f copies came into a zone, want at most %.2f", r.CrossCopies, limit.cross)
			}
			if dies := s.Name == "churn"; dies != (r.Died > 0) {
				t.Errorf("%d nodes died", r.Died)
			}
		})
	}
}

// The same seed gives the same run, another one another.
func TestSeed(t *testing.T) {
	s, err := sim.Find("churn")
	if err != nil {
		t.Fatal(err)
	}
	run := func(seed uint64) sim.Result {
		r, err := sim.Run(s.Config(40, 100*mib, seed))
		if err != nil {
			t.Fatal(err)
		}
		r.SchedulerCPU = 0 // the one thing that real time tells
		return r
	}
	first := run(3)
	if d := cmp.Diff(first, run(3)); d != "" {
		t.Errorf("the same seed gave another run:\n%s", d)
	}
	if cmp.Equal(first, run(4)) {
		t.Error("another seed gave the same run")
	}
}

// A node that begins with all layers at once is not slower for it.
func TestPrefetch(t *testing.T) {
	s, err := sim.Find("small")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.Config(60, 0, 7)
	three, err := sim.Run(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Prefetch = true
	all, err := sim.Run(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if all.Makespan.Seconds() > 1.1*three.Makespan.Seconds() || all.OriginCopies > 1.1 {
		t.Errorf("all layers at once: %v and %.3f copies; three at a time: %v", all.Makespan, all.OriginCopies, three.Makespan)
	}
}

// What makes no sense is refused by name.
func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*sim.Config){
		"no nodes":    func(c *sim.Config) { c.Nodes = 0 },
		"no layers":   func(c *sim.Config) { c.Layers = 0 },
		"no rate":     func(c *sim.Config) { c.Up = 0 },
		"no racks":    func(c *sim.Config) { c.RackSize = 0 },
		"slow by 0":   func(c *sim.Config) { c.Stragglers, c.StragglerRate = 0.1, 0 },
		"no patience": func(c *sim.Config) { c.Limit = 0 },
	} {
		cfg := sim.Scenarios()[0].Config(10, mib, 1)
		change(&cfg)
		if _, err := sim.Run(cfg); !errors.Is(err, sim.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := sim.Find("flesh"); !errors.Is(err, sim.ErrConfig) {
		t.Errorf("a scenario that does not exist: %v", err)
	}
}
