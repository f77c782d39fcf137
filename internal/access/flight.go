package access

import (
	"context"
	"errors"
	"sync"
	"time"
)

// flightKey is what makes two questions the same.
type flightKey struct {
	as       Subject
	question Question
}

const (
	// lateFrom is how long a question must have been at its registry, when the
	// last who waited for it leaves, to be brought to its end all the same: a
	// registry that is far away may take longer to greet than a client waits
	// for its first byte, and would never be got to know otherwise. The next
	// client finds the answer.
	lateFrom = time.Second
	// maxQueued bounds the questions that wait for one at a registry to end:
	// one for each request that the mirror answers at once, which waits for
	// one question at a time. Each may hold a credential of 16 KiB.
	maxQueued = 512
)

// errCrowded ends a question for which there is no room in the queue.
var errCrowded = errors.New("too many questions wait for registries that do not answer")

// flight is one question under way: in the queue first, then at its registry.
// All who want its answer wait for it; when the last of them leaves early, it
// ends.
type flight struct {
	key    flightKey
	done   chan struct{} // closed once found and err are set
	found  Found
	err    error
	cancel context.CancelFunc

	// guarded by flights.mu
	waiters int
	asked   time.Time // zero while it is in the queue
}

// wait is the answer, or what ends ctx before there is one.
func (fl *flight) wait(ctx context.Context) (Found, error) {
	select {
	case <-fl.done:
		return fl.found, fl.err
	case <-ctx.Done():
		return Found{}, context.Cause(ctx)
	}
}

// flights are the questions under way.
type flights struct {
	slots chan struct{} // one entry a question at a registry

	mu      sync.Mutex // guards what follows
	running map[flightKey]*flight
	queued  int // flights that have no slot yet
}

func newFlights(limit int) *flights {
	return &flights{slots: make(chan struct{}, limit), running: make(map[flightKey]*flight)}
}

// join has the caller wait for a question: the same one that is under way, or
// one that begins, by ask. The caller must leave the flight. ask's context
// lives as long as somebody waits, and past lateFrom for as long as ask likes.
// It fails with errCrowded if there is no room in the queue.
func (f *flights) join(ctx context.Context, key flightKey, ask func(context.Context) (Found, error)) (*flight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.running[key]; fl != nil {
		fl.waiters++
		return fl, nil
	}
	if f.queued >= maxQueued {
		return nil, errCrowded
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl := &flight{key: key, done: make(chan struct{}), cancel: cancel, waiters: 1}
	f.running[key] = fl
	f.queued++
	go func() { // ends with ask, which has a limit of its own, or in the queue
		defer cancel()
		fl.found, fl.err = f.inTurn(ctx, fl, ask)
		f.mu.Lock()
		f.drop(fl)
		f.mu.Unlock()
		close(fl.done)
	}()
	return fl, nil
}

// inTurn waits for its turn and asks.
func (f *flights) inTurn(ctx context.Context, fl *flight, ask func(context.Context) (Found, error)) (Found, error) {
	var turn bool
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
		turn = true
	case <-ctx.Done():
	}
	f.mu.Lock()
	f.queued--
	fl.asked = time.Now()
	f.mu.Unlock()
	if !turn {
		return Found{}, context.Cause(ctx)
	}
	return ask(ctx)
}

// leave takes back one join. It ends a question that nobody waits for any
// more, unless it has been at its registry for long.
func (f *flights) leave(fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiters--; fl.waiters == 0 && (fl.asked.IsZero() || time.Since(fl.asked) < lateFrom) {
		fl.cancel()
		f.drop(fl)
	}
}

// drop forgets fl unless another has taken its place; f.mu is held.
func (f *flights) drop(fl *flight) {
	if f.running[fl.key] == fl {
		delete(f.running, fl.key)
	}
}
