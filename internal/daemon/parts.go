package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// part is one long-lived thing. Its run blocks until ctx ends.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// errEnded is why a part fails that returns though nobody asked it to.
var errEnded = errors.New("ended by itself")

// runParts runs all parts at once until ctx ends or one of them fails. Then
// it ends them one by one, the last first: a part may rely on those before it
// for as long as it runs. It returns the first failure, after all have ended.
func runParts(ctx context.Context, parts []part) error {
	g, failed := errgroup.WithContext(ctx)
	var stops []func()
	for _, p := range parts {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		g.Go(func() error {
			defer close(ended)
			err := p.run(own)
			if err == nil && own.Err() == nil {
				err = errEnded
			}
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			return nil
		})
		stops = append(stops, func() { cancel(); <-ended })
	}
	<-failed.Done()
	for _, stop := range slices.Backward(stops) {
		stop()
	}
	return g.Wait()
}
