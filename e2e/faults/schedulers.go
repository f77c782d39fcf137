package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/p2pd/p2pd/e2e/lab"
)

// doors are where peers find schedulers.
func (s *stage) doors() string {
	all := make([]string, 0, len(s.schedulers))
	for i := range s.schedulers {
		port, _ := lab.SchedulerPorts(i)
		all = append(all, s.Net.Scheduler.At(port))
	}
	return strings.Join(all, ",")
}

// scheduler is one of them.
func (s *stage) scheduler(i int) *lab.Daemon {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.schedulers[i]
}

// startScheduler starts one of them, or starts it again.
func (s *stage) startScheduler(ctx context.Context, i int) error {
	d, err := s.StartSchedulerWith(ctx, i, len(s.schedulers), nil, s.schedulerClocks[i].Env())
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Process != nil {
		s.schedulers[i] = d
	}
	return err
}

// beginScheduler makes a fault of one scheduler or all happen.
func (s *stage) beginScheduler(ctx context.Context, step Step) (ending, error) {
	one := int(step.Seed % uint64(len(s.schedulers)))
	switch step.Kind {
	case SchedulerKill:
		s.scheduler(one).Kill()
		return func(ctx context.Context) error { return s.startScheduler(ctx, one) }, nil
	case SchedulerStop:
		return freeze(s.scheduler(one).PID())
	case SchedulerCut:
		return s.cutPorts(ctx, one)
	case SchedulerClock:
		return stepClock(s.schedulerClocks[one], step)
	case SchedulersCut:
		return s.cut(ctx, s.Net.Scheduler)
	case SchedulersKill:
		return s.ofAll(func(i int) (ending, error) {
			s.scheduler(i).Kill()
			return func(ctx context.Context) error { return s.startScheduler(ctx, i) }, nil
		})
	case SchedulersStop:
		return s.ofAll(func(i int) (ending, error) { return freeze(s.scheduler(i).PID()) })
	}
	return nil, fmt.Errorf("no such fault of schedulers: %s", step.Kind)
}

// ofAll makes a fault of each scheduler happen.
func (s *stage) ofAll(begin func(i int) (ending, error)) (ending, error) {
	var ends []ending
	var errs []error
	for i := range s.schedulers {
		end, err := begin(i)
		ends, errs = append(ends, end), append(errs, err)
	}
	return func(ctx context.Context) error {
		var errs []error
		for _, end := range ends {
			errs = append(errs, end(ctx))
		}
		return errors.Join(errs...)
	}, errors.Join(errs...)
}

// cutPorts has what comes to a scheduler's ports vanish, and what goes from them: peers and
// the other schedulers do not reach it, though all are at one place.
func (s *stage) cutPorts(ctx context.Context, i int) (ending, error) {
	peers, gossip := lab.SchedulerPorts(i)
	var rules []string
	for _, direction := range []string{"dport", "sport"} {
		rules = append(rules,
			fmt.Sprintf("tcp %s { %d, %d } drop", direction, peers, gossip), fmt.Sprintf("udp %s %d drop", direction, gossip))
	}
	return filter(ctx, s.Net.Scheduler.Netns, fmt.Sprint("scheduler", i), rules...)
}

// filter puts rules on all that a place gets and sends.
func filter(ctx context.Context, netns, name string, rules ...string) (ending, error) {
	nft := func(ctx context.Context, text string) error {
		return command(ctx, "ip", "netns", "exec", netns, "nft", text)
	}
	table := "table inet " + name
	var text strings.Builder
	fmt.Fprintf(&text, "add %s;", table)
	for _, hook := range []string{"input", "output"} {
		fmt.Fprintf(&text, "add chain inet %s %s { type filter hook %s priority 0; };", name, hook, hook)
		for _, rule := range rules {
			fmt.Fprintf(&text, "add rule inet %s %s %s;", name, hook, rule)
		}
	}
	return func(ctx context.Context) error { return nft(ctx, "delete "+table) }, nft(ctx, text.String())
}
