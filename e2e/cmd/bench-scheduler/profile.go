package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// profileLength takes in the joins of ten thousand peers, and little else.
const profileLength = 8 * time.Second

// profileCPU begins to profile the scheduler, if that was asked for. What it returns
// waits for the end of it.
func (b *bench) profileCPU(ctx context.Context, daemon *lab.Daemon) (ended func() error) {
	if b.profiles == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- daemon.CPUProfile(ctx, profileLength, filepath.Join(b.profiles, "cpu.pprof")) }()
	return func() error { return <-done }
}

// profileMemory writes what the scheduler's memory is used for, if that was asked
// for, and says how much of it are stacks of goroutines, which no such profile has.
func (b *bench) profileMemory(ctx context.Context, daemon *lab.Daemon) error {
	if b.profiles == "" {
		return nil
	}
	if err := daemon.HeapProfile(ctx, filepath.Join(b.profiles, "heap.pprof")); err != nil {
		return err
	}
	m, err := daemon.Metrics(ctx)
	if err != nil {
		return err
	}
	for _, name := range []string{"go_goroutines", "go_memstats_stack_inuse_bytes", "go_memstats_heap_alloc_bytes", "go_memstats_heap_inuse_bytes", "go_memstats_next_gc_bytes"} {
		v, err := m.Of(name)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.log, "%s: %.0f a peer\n", name, v/float64(b.peers))
	}
	return nil
}
