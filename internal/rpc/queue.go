package rpc

import (
	"context"
	"slices"
	"sync"
)

// queue is a bounded line of values between writers that never wait and one
// reader. Unlike a channel it costs nothing while it is empty, which a server
// with ten thousand of them needs.
type queue[T any] struct {
	most  int
	ready chan struct{} // holds one token if there may be something to take

	mu    sync.Mutex
	items []T
}

func newQueue[T any](most int) *queue[T] {
	return &queue[T]{most: most, ready: make(chan struct{}, 1)}
}

// put adds v at the end. If the queue is full, the oldest value for which
// lesser holds is dropped in its place, or v itself if there is none; put
// then returns false. A nil lesser holds for nothing.
func (q *queue[T]) put(v T, lesser func(T) bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	fits := len(q.items) < q.most
	if !fits {
		if lesser == nil {
			return false
		}
		i := slices.IndexFunc(q.items, lesser)
		if i < 0 {
			return false
		}
		q.items = slices.Delete(q.items, i, i+1)
	}
	q.items = append(q.items, v)
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return fits
}

// take waits for values and removes all that are there. While the reader
// works on them the queue has its full room again.
func (q *queue[T]) take(ctx context.Context) ([]T, error) {
	for {
		q.mu.Lock()
		items := q.items
		q.items = nil
		q.mu.Unlock()
		if len(items) > 0 {
			return items, nil
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
