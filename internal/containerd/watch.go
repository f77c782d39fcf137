package containerd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// listing is one blob as containerd lists it.
type listing struct {
	digest piece.Digest
	size   int64
	made   time.Time
}

// watch follows containerd, from one session to the next.
func (c *Content) watch(ctx context.Context, lists chan<- []listing) error {
	var said string
	wait := c.cfg.RetryFirst
	for {
		listed, err := c.session(ctx, lists)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the session failed because it was told to end
		}
		if listed {
			wait, said = c.cfg.RetryFirst, ""
		}
		// What was proven stays offered: the files are there without containerd.
		if err.Error() != said {
			said = err.Error()
			c.log.Info("containerd's content is not followed at the moment", "err", err)
		}
		// Up to a quarter more, so that many nodes do not do it in step.
		sleep(ctx, wait+rand.N(wait/4+1))
		wait = min(2*wait, c.cfg.RetryMost)
	}
}

// session follows one containerd until it goes away. It reports whether there
// was a list at all. Events only say that something changed; the list says
// what. The subscription comes first, so that nothing falls between the two.
func (c *Content) session(ctx context.Context, lists chan<- []listing) (listed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.openRoot(); err != nil {
		return false, err
	}
	cl, err := dial(c.cfg)
	if err != nil {
		return false, err
	}
	defer cl.close()
	ended, changed, err := cl.subscribe(ctx)
	if err != nil {
		return false, err
	}
	defer c.setConnected(false)
	// Once more soon after the first: that a subscription was sent does not
	// mean that it was in force before the list was made.
	wait := c.cfg.Again
	for {
		all, err := cl.list(ctx)
		if err != nil {
			return listed, err
		}
		select {
		case lists <- all:
		case <-ctx.Done():
			return listed, ctx.Err()
		}
		listed = true
		c.setConnected(true)
		timer := time.NewTimer(wait)
		select {
		case <-changed:
			sleep(ctx, c.cfg.Settle)
			wait = c.cfg.Again
		case <-timer.C:
			wait = c.cfg.Relist
		case err := <-ended:
			timer.Stop()
			return listed, fmt.Errorf("containerd's events: %w", err)
		}
		timer.Stop()
		drain(changed)
	}
}

func (c *Content) setConnected(v bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = v
}

// wants says whether a namespace's content is to be offered.
func (c Config) wants(namespace string) bool {
	return slices.Contains(c.Namespaces, AllNamespaces) || slices.Contains(c.Namespaces, namespace)
}

func drain(c <-chan struct{}) {
	select {
	case <-c:
	default:
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
