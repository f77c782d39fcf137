package sim

import (
	"fmt"
	"time"
)

// Scenario is one way in which a cluster pulls.
type Scenario struct {
	Name string
	// What says it in a sentence.
	What string
	// set makes it out of the common ground.
	set func(*Config)
}

// Scenarios are all there are, in the order in which they are run.
func Scenarios() []Scenario {
	return []Scenario{
		{"flash", "all nodes begin within a second", func(*Config) {}},
		{"rolling", "a fifth of the nodes at a time, each when the last is through", func(c *Config) { c.Waves = 5 }},
		{"trickle", "nodes begin over ten times as long as a pull takes", func(c *Config) { c.Arrivals = 10 * c.fluid() }},
		{"zones", "three zones, whose lines carry a quarter of what their nodes send", func(c *Config) {
			c.Zones, c.Oversubscription = 3, 4
		}},
		{"near-origin", "three zones as before, each of which reads from the registry for itself", func(c *Config) {
			c.Zones, c.Oversubscription = 3, 4
			c.Scheduler.OriginNearer = true
		}},
		{"stragglers", "a tenth of the nodes has a quarter of the rate", func(c *Config) { c.Stragglers, c.StragglerRate = 0.1, 0.25 }},
		{"slow-origin", "the origin gives half of a node's rate, and a tenth to each connection", func(c *Config) {
			c.Origin = c.Up / 2
			c.PerConnection = c.Up / 10
		}},
		{"churn", "one node of twenty dies in mid-pull", func(c *Config) { c.Dying = 0.05 }},
		{"small", "an image of 20 layers of 5 MiB", func(c *Config) {
			c.Layers, c.Size = 20, 20*5<<20
		}},
	}
}

// Config is the scenario for a cluster and an image: nodes of 1 Gbit/s in racks
// of 20, and an origin of 2 Gbit/s.
func (s Scenario) Config(nodes int, size int64, seed uint64) Config {
	const gbit = 1e9 / 8
	c := Config{
		Nodes: nodes, Size: size, Layers: 1, Seed: seed,
		Up: gbit, Down: gbit, Origin: 2 * gbit,
		RackSize: 20, Arrivals: time.Second, Concurrency: 3,
		InRack: 100 * time.Microsecond, InZone: 250 * time.Microsecond, BetweenZones: time.Millisecond,
		ToScheduler: time.Millisecond, ToOrigin: 10 * time.Millisecond,
		Limit: time.Hour,
	}
	s.set(&c)
	return c
}

// Find is the scenario of a name.
func Find(name string) (Scenario, error) {
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("%w: there is no scenario %q", ErrConfig, name)
}
