package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
)

// profileLength is within the cold phase at the default size and rates.
const profileLength = 12 * time.Second

// profiled runs pull, beside CPU profiles of all nodes if they were asked for: one
// node alone has too few samples to tell anything.
func (b *bench) profiled(ctx context.Context, s *lab.Swarm, pull func() ([]float64, error)) ([]float64, error) {
	if b.profiles == "" {
		return pull()
	}
	var all errgroup.Group
	for _, node := range s.Nodes {
		all.Go(func() error {
			return node.CPUProfile(ctx, startDelay+profileLength, filepath.Join(b.profiles, node.Name+".pprof"))
		})
	}
	times, err := pull()
	return times, errors.Join(err, all.Wait())
}
