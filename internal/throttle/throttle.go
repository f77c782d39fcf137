// Package throttle holds streams of bytes to a rate that they share and that
// may change while they flow. It knows nothing of what flows.
package throttle

import (
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Burst is how many bytes may pass at once, and the most that one Read takes
// under a limit. 64 KiB is 0.5 ms at 1 Gbit/s: smooth, with few waits.
const Burst = 64 << 10

// Limit is a rate in bytes a second for any number of streams. A nil *Limit is
// no limit. Its methods may be called from many goroutines.
type Limit struct {
	mu      sync.Mutex // guards what follows
	tokens  *rate.Limiter
	rate    int64         // 0: no limit
	changed chan struct{} // closed by the next Set
}

// New is a limit of bytesPerSecond; 0 or less is none, until Set.
func New(bytesPerSecond int64) *Limit {
	l := &Limit{tokens: rate.NewLimiter(rate.Inf, Burst), changed: make(chan struct{})}
	l.Set(bytesPerSecond)
	return l
}

// Set changes the rate, also for streams that wait just now. 0 or less is no
// limit.
func (l *Limit) Set(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = max(bytesPerSecond, 0)
	if l.rate > 0 {
		l.tokens.SetLimit(rate.Limit(l.rate))
	} else {
		l.tokens.SetLimit(rate.Inf)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// Rate is in bytes a second; 0 is no limit.
func (l *Limit) Rate() int64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate
}

// wait returns when n bytes more may pass, or with ctx.
func (l *Limit) wait(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		changed := l.changed
		turn := l.tokens.ReserveN(time.Now(), n) // n is at most Burst
		l.mu.Unlock()
		delay := turn.Delay()
		if delay == 0 {
			return nil
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
			return nil
		case <-changed:
			turn.Cancel() // and ask again at the new rate
		case <-ctx.Done():
			timer.Stop()
			turn.Cancel()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// Reader wraps r so that its bytes count against each of limits. Without any
// it returns r itself. Waits end with ctx.
func Reader(ctx context.Context, r io.Reader, limits ...*Limit) io.Reader {
	t := &reader{ctx: ctx, r: r}
	for _, l := range limits {
		if l != nil {
			t.limits = append(t.limits, l)
		}
	}
	if len(t.limits) == 0 {
		return r
	}
	return t
}

type reader struct {
	ctx    context.Context //nolint:containedctx // of one transfer, as r
	r      io.Reader
	limits []*Limit
}

func (t *reader) Read(p []byte) (int, error) {
	if Limited(t.limits...) {
		p = p[:min(len(p), Burst)]
	}
	n, err := t.r.Read(p)
	for _, l := range t.limits {
		// A limit that came during the Read does not count for it.
		if n == 0 || n > Burst || l.Rate() == 0 {
			continue
		}
		if werr := l.wait(t.ctx, n); werr != nil && err == nil {
			err = werr
		}
	}
	return n, err
}

// Limited reports whether any of limits has a rate now.
func Limited(limits ...*Limit) bool {
	for _, l := range limits {
		if l.Rate() > 0 {
			return true
		}
	}
	return false
}
