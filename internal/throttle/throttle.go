// Package throttle holds a stream of bytes to a rate that many streams share.
// It knows nothing of what flows.
package throttle

import (
	"context"
	"io"

	"golang.org/x/time/rate"
)

// Burst is how many bytes may pass at once, and the most that one Read takes
// under a limit. 64 KiB is 0.5 ms at 1 Gbit/s: smooth, with few waits.
const Burst = 64 << 10

// NewLimiter is a limiter of bytesPerSecond for any number of streams.
// 0 means no limit and returns nil, which Reader accepts.
func NewLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), Burst)
}

// Reader wraps r so that its bytes count against l. A nil l returns r itself.
// Waits end with ctx.
func Reader(ctx context.Context, r io.Reader, l *rate.Limiter) io.Reader {
	if l == nil {
		return r
	}
	return &reader{ctx: ctx, r: r, l: l}
}

type reader struct {
	ctx context.Context
	r   io.Reader
	l   *rate.Limiter
}

func (t *reader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p[:min(len(p), Burst)])
	if n > 0 {
		if werr := t.l.WaitN(t.ctx, n); werr != nil && err == nil {
			err = werr
		}
	}
	return n, err
}
