package origin

import (
	"container/list"
	"context"
	"net/http"
	"sync"
)

// maxAccesses bounds the remembered handshakes, one a repository. A node runs
// at most a few hundred images; one forgotten costs a ping and a token.
const maxAccesses = 1024

// accessKey is what a token is good for.
type accessKey struct {
	endpoint, repo string
	anonymous      bool // without the node's credentials, whether or not there are any
}

// access is the handshake with a registry for one repository. It is made by
// whoever asks first; all who ask meanwhile wait for it.
type access struct {
	key    accessKey
	cancel context.CancelFunc
	done   chan struct{} // closed once client or err is set
	client *http.Client
	err    error

	waiters int // guarded by accesses.mu; at 0 an unfinished handshake ends
}

// accesses remembers the handshakes that were used last. One that failed is
// told to those who waited for it, and forgotten.
type accesses struct {
	limit int

	mu    sync.Mutex
	items map[accessKey]*list.Element // of *access
	order *list.List                  // newest use first
}

func newAccesses(limit int) *accesses {
	return &accesses{limit: limit, items: make(map[accessKey]*list.Element), order: list.New()}
}

// get returns the access for key, after dial has made it if there is none.
// dial's context lives as long as somebody waits.
func (c *accesses) get(ctx context.Context, key accessKey, dial func(context.Context) (*http.Client, error)) (*access, error) {
	a := c.join(ctx, key, dial)
	defer c.leave(a)
	select {
	case <-a.done:
		return a, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// join counts the caller among the waiters of key's access, a new one if
// there is none.
func (c *accesses) join(ctx context.Context, key accessKey, dial func(context.Context) (*http.Client, error)) *access {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.order.MoveToFront(e)
		a := e.Value.(*access)
		a.waiters++
		return a
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a := &access{key: key, cancel: cancel, done: make(chan struct{}), waiters: 1}
	c.items[key] = c.order.PushFront(a)
	if c.order.Len() > c.limit {
		delete(c.items, c.order.Remove(c.order.Back()).(*access).key)
	}
	// It ends with the handshake, which ends with the last waiter.
	go func() {
		defer cancel()
		a.client, a.err = dial(ctx)
		if a.err != nil {
			c.forget(a)
		}
		close(a.done)
	}()
	return a
}

// leave ends a handshake that nobody waits for any more, so that the next
// caller begins a new one.
func (c *accesses) leave(a *access) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.waiters--
	if a.waiters > 0 {
		return
	}
	select {
	case <-a.done:
	default:
		a.cancel()
		c.drop(a)
	}
}

// forget makes the next caller do the handshake again.
func (c *accesses) forget(a *access) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(a)
}

// drop removes a if it has not been replaced; c.mu is held.
func (c *accesses) drop(a *access) {
	if e, ok := c.items[a.key]; ok && e.Value.(*access) == a {
		c.order.Remove(e)
		delete(c.items, a.key)
	}
}
