package sim

import (
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// brain is the scheduler behind its messages' way.
type brain struct {
	w *world
	s *scheduler.Scheduler
}

func (b *brain) start(w *world) {
	cfg := w.cfg.Scheduler
	cfg.Seed = w.cfg.Seed
	b.w, b.s = w, scheduler.New(cfg)
	w.after(scheduler.TickEvery, b, 0)
}

// fire: time passes at the scheduler.
func (b *brain) fire(uint8) {
	b.step(scheduler.Tick{})
	b.w.after(scheduler.TickEvery, b, 0)
}

// step takes an event now and sends out what follows.
func (b *brain) step(e scheduler.Event) {
	began := time.Now()
	decisions := b.s.Step(b.w.clock(), e)
	b.w.stats.schedulerCPU += time.Since(began)
	for _, d := range decisions {
		if n := b.w.byID[d.Recipient()]; n != nil && n.alive {
			b.w.after(b.w.cfg.ToScheduler, &told{n, d}, 0)
		}
	}
}

// tell sends an event on its way to the scheduler.
func (b *brain) tell(e scheduler.Event) {
	b.w.stats.messages++
	b.w.after(b.w.cfg.ToScheduler, &telling{b, e}, 0)
}

// telling is an event on its way.
type telling struct {
	b *brain
	e scheduler.Event
}

func (t *telling) fire(uint8) { t.b.step(t.e) }

// told is a decision on its way.
type told struct {
	n *node
	d scheduler.Decision
}

func (t *told) fire(uint8) {
	if t.n.alive {
		t.n.decided(t.d)
	}
}
