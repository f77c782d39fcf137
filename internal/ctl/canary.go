package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/metrics"
)

// everyLeast keeps a canary from being the load that it is to warn of.
const everyLeast = 5 * time.Second

// canary is a check that is made again and again, and what came of it.
type canary struct {
	mu        sync.Mutex // guards what follows
	successes int64
	failures  int64
	failed    map[string]int64         // runs, by the category that failed first
	phases    map[string]time.Duration // of the last run, by category
	pull      time.Duration            // the last that was measured; 0: none was
	start     time.Duration
	received  api.Bytes // by p2pd, for the last pull
	success   time.Time // the end of the last run that succeeded; zero: none has
}

// observe takes the result of a run that ended now.
func (c *canary) observe(found *checkResults, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.phases = make(map[string]time.Duration)
	first := ""
	for _, g := range found.Categories {
		for _, r := range g.Checks {
			c.phases[g.Name] += time.Duration(r.Millis) * time.Millisecond
			if r.Result == resultError && first == "" {
				first = g.Name
			}
		}
	}
	if p := found.Pull; p != nil {
		c.pull, c.received = time.Duration(p.Millis)*time.Millisecond, fromWhom(p.Given)
	}
	if s := found.Start; s != nil && s.PullMillis > 0 {
		c.pull, c.received = time.Duration(s.PullMillis)*time.Millisecond, s.Bytes
		c.start = time.Duration(s.StartMillis) * time.Millisecond
	}
	if found.Success {
		c.successes++
		c.success = now
		return
	}
	c.failures++
	if c.failed == nil {
		c.failed = make(map[string]int64)
	}
	c.failed[first]++
}

// metrics are the canary's, for its own page.
func (c *canary) metrics() []metrics.Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	seconds := func(name, help string, d time.Duration) metrics.Metric {
		return metrics.Metric{Name: name, Help: help, Gauge: true, Samples: []metrics.Sample{{Value: d.Seconds()}}}
	}
	failed := metrics.Metric{Name: "p2pd_canary_failures_total", Help: "Runs that failed, by the category whose check failed first."}
	phases := metrics.Metric{Name: "p2pd_canary_phase_seconds", Help: "How long the checks of a category took in the last run.", Gauge: true}
	for _, name := range categories() {
		failed.Samples = append(failed.Samples, metrics.By("category", name, c.failed[name]))
		phases.Samples = append(phases.Samples, metrics.Sample{Labels: metrics.Labels("category", name), Value: c.phases[name].Seconds()})
	}
	last := int64(0)
	if !c.success.IsZero() {
		last = c.success.Unix()
	}
	return []metrics.Metric{
		failed, phases,
		{Name: "p2pd_canary_runs_total", Help: "Runs of the check, by how they ended.", Samples: []metrics.Sample{
			metrics.By("outcome", "success", c.successes), metrics.By("outcome", "failure", c.failures),
		}},
		metrics.Gauge("p2pd_canary_success_timestamp_seconds", "When the last run that succeeded ended, as a Unix time; 0: none has yet.", last),
		seconds("p2pd_canary_pull_seconds", "How long the last pull took.", c.pull),
		seconds("p2pd_canary_start_seconds", "How long the last container took to start, and to end or to run for a moment.", c.start),
		{Name: "p2pd_canary_received_bytes", Help: "Bytes that p2pd received for the last pull, by source.", Gauge: true, Samples: []metrics.Sample{
			metrics.By("source", "peer", c.received.Peers), metrics.By("source", "origin", c.received.Origin),
		}},
	}
}

// goOn makes the check again and again, until ctx ends, and serves what came of
// it. The template is not used itself.
func (k *checkup) goOn(ctx context.Context, out, trouble io.Writer) error {
	c := &canary{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	if err := c.serve(ctx, k.metricsAt, served); err != nil {
		return err
	}
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	for {
		one := *k
		one.fresh.blobs = nil
		found := one.runAndTell(ctx, trouble)
		if ctx.Err() != nil {
			cancel()
			return <-served
		}
		c.observe(&found, time.Now())
		if err := k.cli.print(out, checkShown(colours(out), &found)); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case err := <-served:
			return err
		case <-ctx.Done():
		}
	}
}

// serve answers scrapes at an address until ctx ends, and then tells done. With
// no address it serves nothing.
func (c *canary) serve(ctx context.Context, address string, done chan<- error) error {
	if address == "" {
		context.AfterFunc(ctx, func() { done <- nil })
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("--metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler("p2pd_canary_build_info", version(), c.metrics))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	context.AfterFunc(ctx, func() { _ = srv.Close() }) // scrapes are short
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			done <- fmt.Errorf("--metrics: %w", err)
			return
		}
		done <- nil
	}()
	return nil
}
