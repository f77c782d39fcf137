package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	nodes = 6
	// defaultDuration is what a run takes in CI.
	defaultDuration = 5 * time.Minute
	soakDuration    = 30 * time.Minute
)

// A cluster under a schedule of faults keeps its promises. SEED repeats the
// schedule of an earlier run, DURATION has it last longer, HISTORY names the
// file that the history is written to.
func TestFaults(t *testing.T) {
	if os.Getenv("P2PD_E2E_FAULTS") != "1" {
		t.Skip("the fault suite takes minutes: run 'sudo make e2e-faults'")
	}
	if os.Geteuid() != 0 {
		t.Fatal("the fault suite makes network namespaces and mounts: run it as root")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	seed, duration := settings(t, defaultDuration)
	rounds := max(1, int(duration/roundLength))
	fmt.Printf("SEED=%d DURATION=%v: %d rounds\n", seed, duration, rounds)
	for _, s := range Plan(seed, nodes, rounds) {
		t.Logf("round %d at %v: %s of node %d for %v", s.Round+1, s.At.Round(time.Millisecond), s.Kind, s.Node, s.For.Round(time.Millisecond))
	}

	l, out := openLab(ctx, t, seed)
	h, err := Run(ctx, l, seed, rounds, out)
	if !Report(os.Stdout, h, Judge(h)) {
		t.Errorf("a promise was broken, or not tried; SEED=%d; the history is in %s", seed, out.Name())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Processes that have worked for long take no more than those that have not.
func TestSoak(t *testing.T) {
	if os.Getenv("P2PD_E2E_SOAK") != "1" {
		t.Skip("a soak takes half an hour: run 'sudo make soak'")
	}
	if os.Geteuid() != 0 {
		t.Fatal("a soak makes network namespaces and mounts: run it as root")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	seed, duration := settings(t, soakDuration)
	fmt.Printf("SEED=%d DURATION=%v\n", seed, duration)
	l, out := openLab(ctx, t, seed)
	h, err := Soak(ctx, l, seed, duration, out)
	if !Report(os.Stdout, h, JudgeSoak(h)) {
		t.Errorf("something failed or grew; the history is in %s", out.Name())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// openLab builds the programs and makes a lab, and the file of its history.
func openLab(ctx context.Context, t *testing.T, seed uint64) (*lab.Lab, *os.File) {
	t.Helper()
	dir := filepath.Join(lab.BaseDir(), fmt.Sprintf("p2pd-lab-%d-programs", os.Getpid()))
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a later run removes it, too
	programs, err := lab.Build(ctx, dir, "p2pd_faults")
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: nodes, NodeRate: nodeRate, OriginRate: originRate}, Programs: programs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			keepLogs(t, l.Dir)
		}
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	out, err := os.Create(historyFile(seed))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() }) // the recorder has told of errors
	return l, out
}

func settings(t *testing.T, def time.Duration) (seed uint64, duration time.Duration) {
	t.Helper()
	seed, duration = rand.Uint64()>>32, def
	var err error
	if v := os.Getenv("SEED"); v != "" {
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	if v := os.Getenv("DURATION"); v != "" {
		if duration, err = time.ParseDuration(v); err != nil {
			t.Fatalf("DURATION: %v", err)
		}
	}
	return seed, duration
}

func historyFile(seed uint64) string {
	if name := os.Getenv("HISTORY"); name != "" {
		return name
	}
	return filepath.Join(lab.BaseDir(), fmt.Sprintf("p2pd-faults-%d.jsonl", seed))
}

// keepLogs moves the logs of a run that failed beside its history.
func keepLogs(t *testing.T, dir string) {
	t.Helper()
	keep := strings.Replace(dir, "p2pd-lab-", "p2pd-faults-logs-", 1)
	if err := os.MkdirAll(keep, 0o755); err != nil {
		t.Error(err)
		return
	}
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Error(err)
	}
	for _, log := range logs {
		b, err := os.ReadFile(log)
		if err == nil {
			err = os.WriteFile(filepath.Join(keep, filepath.Base(log)), b, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
	t.Logf("logs are in %s", keep)
}
