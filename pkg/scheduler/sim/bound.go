package sim

import (
	"fmt"
	"time"
)

func (c Config) check() error {
	switch {
	case c.Nodes < 1 || c.Nodes > 100_000:
		return fmt.Errorf("%w: %d nodes; 1 to 100000 are possible", ErrConfig, c.Nodes)
	case c.Layers < 1 || c.Size < int64(c.Layers):
		return fmt.Errorf("%w: %d bytes in %d layers", ErrConfig, c.Size, c.Layers)
	case c.Up <= 0 || c.Down <= 0 || c.Origin <= 0:
		return fmt.Errorf("%w: a rate of 0", ErrConfig)
	case c.RackSize < 1 || c.Concurrency < 1 || c.Limit <= 0:
		return fmt.Errorf("%w: rack of %d nodes, %d layers at a time, limit %v; all must be at least 1", ErrConfig, c.RackSize, c.Concurrency, c.Limit)
	case c.Stragglers > 0 && c.StragglerRate <= 0:
		return fmt.Errorf("%w: stragglers at a rate of 0", ErrConfig)
	}
	return nil
}

// fluid is max(F/Us, F/d, N·F/(Us+N·u)): the least time in which N nodes can
// have an image of F bytes, whatever they do, if all begin at once.
func (c Config) fluid() time.Duration {
	f, n := float64(c.Size), float64(c.Nodes)
	s := max(f/c.Origin, f/c.Down, n*f/(c.Origin+n*c.Up))
	return time.Duration(s * float64(time.Second))
}

// bound is fluid for nodes of different rates that come at different times:
//
//   - what one node needs for itself: its arrival + F/d;
//   - what the origin needs for one copy, or one for each zone that reads for itself:
//     F/Us or Z·F/Us;
//   - what all need together: the least T at which
//     Us·T + Σ u·max(0, T − arrival) reaches N·F, for nodes that live.
//
// A wave begins when the one before is through, so its times are added; nodes
// of earlier waves can send from its first moment.
func (w *world) bound() time.Duration {
	var total float64
	f := float64(w.cfg.Size)
	seeds := 0.0 // what earlier waves can send, bytes a second
	began := 0.0
	for k, v := range w.waves {
		t, need, slowest := 0.0, 0.0, 0.0
		if k == 0 {
			t = f / w.cfg.Origin
			if w.cfg.Scheduler.OriginNearer {
				t *= float64(len(w.zones))
			}
		}
		var come, up []float64
		for _, n := range w.nodes[v.first:v.end] {
			if n.ends == 0 {
				continue
			}
			at := float64(n.arrives)/1e9 - began
			slowest = max(slowest, float64(n.ends)/1e9)
			t = max(t, at+f/(n.down.rate*1e9))
			need += f
			come, up = append(come, at), append(up, n.out.up.rate*1e9)
		}
		sent := func(t float64) float64 {
			sum := (w.cfg.Origin + seeds) * t
			for i, at := range come {
				sum += up[i] * max(0, t-at)
			}
			return sum
		}
		low, high := t, t
		for sent(high) < need {
			high *= 2
		}
		for high-low > 1e-6 {
			if mid := (low + high) / 2; sent(mid) < need {
				low = mid
			} else {
				high = mid
			}
		}
		total += high
		began = slowest
		for _, u := range up {
			seeds += u
		}
	}
	return time.Duration(total * float64(time.Second))
}
