package main

import (
	"context"
	"errors"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// profileLength is within the cold phase at the default size and rates.
const profileLength = 12 * time.Second

// profiled runs pull, beside a CPU profile of the last node if one was asked
// for. (Not the first: it is often the one that reads most from the origin.)
func (b *bench) profiled(ctx context.Context, s *lab.Swarm, pull func() ([]float64, error)) ([]float64, error) {
	if b.profile == "" {
		return pull()
	}
	done := make(chan error, 1)
	go func() {
		done <- s.Nodes[len(s.Nodes)-1].CPUProfile(ctx, startDelay+profileLength, b.profile)
	}()
	times, err := pull()
	return times, errors.Join(err, <-done)
}
