package access

import (
	"context"
	"sync"
	"time"
)

// flightKey is what makes two questions the same.
type flightKey struct {
	as       Subject
	question Question
}

// lateFrom is how long a question must have been under way, when the last who
// waited for it leaves, to be brought to its end all the same: a registry that
// is far away may take longer to greet than a client waits for its first byte,
// and would never be got to know otherwise. The next client finds the answer.
const lateFrom = time.Second

// flight is one question under way. All who want its answer wait for it; when
// the last of them leaves early, it ends.
type flight struct {
	done    chan struct{} // closed once found and err are set
	found   Found
	err     error
	began   time.Time
	cancel  context.CancelFunc
	waiters int // guarded by flights.mu
}

// flights are the questions under way.
type flights struct {
	slots chan struct{} // one entry a question at the origin

	mu      sync.Mutex
	running map[flightKey]*flight
}

func newFlights(limit int) *flights {
	return &flights{slots: make(chan struct{}, limit), running: make(map[flightKey]*flight)}
}

// do asks by ask, unless the same question is under way, and waits for the
// answer within ctx. ask's context lives as long as somebody waits, and past
// lateFrom for as long as ask likes.
func (f *flights) do(ctx context.Context, key flightKey, ask func(context.Context) (Found, error)) (Found, error) {
	fl := f.join(ctx, key, ask)
	defer f.leave(key, fl)
	select {
	case <-fl.done:
		return fl.found, fl.err
	case <-ctx.Done():
		return Found{}, context.Cause(ctx)
	}
}

func (f *flights) join(ctx context.Context, key flightKey, ask func(context.Context) (Found, error)) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.running[key]; fl != nil {
		fl.waiters++
		return fl
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fl := &flight{done: make(chan struct{}), began: time.Now(), cancel: cancel, waiters: 1}
	f.running[key] = fl
	go func() { // ends with ask, which has a limit of its own
		defer cancel()
		fl.found, fl.err = f.inTurn(ctx, ask)
		f.mu.Lock()
		f.drop(key, fl)
		f.mu.Unlock()
		close(fl.done)
	}()
	return fl
}

// inTurn waits for its turn and asks.
func (f *flights) inTurn(ctx context.Context, ask func(context.Context) (Found, error)) (Found, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
		return ask(ctx)
	case <-ctx.Done():
		return Found{}, context.Cause(ctx)
	}
}

// leave ends a young question that nobody waits for any more.
func (f *flights) leave(key flightKey, fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl.waiters--; fl.waiters == 0 && time.Since(fl.began) < lateFrom {
		fl.cancel()
		f.drop(key, fl)
	}
}

// drop forgets fl unless another has taken its place; f.mu is held.
func (f *flights) drop(key flightKey, fl *flight) {
	if f.running[key] == fl {
		delete(f.running, key)
	}
}
