package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/internal/throttle"
)

// body is the content of an answer on its way to a reader: of the length that
// was promised, limited, counted, and cut when it stalls.
type body struct {
	o      *Origin
	answer *answer
	r      io.Reader
	broken atomic.Bool // counted as an error
	closed atomic.Bool
}

// body takes over a. Exactly n bytes come out of it, or an error; a negative
// n means as many as the origin sends.
func (o *Origin) body(a *answer, n int64) *body {
	var r io.Reader = newWatch(a, o.cfg.StallTimeout, &o.stats.bytes)
	if n >= 0 {
		r = &exact{r: r, left: n}
	}
	// The limit is outermost, so that waiting for it is no stall.
	return &body{o: o, answer: a, r: throttle.Reader(a.ctx, r, o.cfg.Download)}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	// A reader that gave up is no fault of the origin's.
	if !b.closed.Load() && !errors.Is(err, context.Canceled) && !b.broken.Swap(true) {
		b.o.stats.broken.Add(1)
		b.answer.endpoint.failed(time.Now(), err) // where there is another one, that is next
	}
	return n, fmt.Errorf("%s: %w", b.answer.question, &quiet{err})
}

// Close implements io.Closer. It ends a Read that waits; a second call does
// nothing.
func (b *body) Close() error {
	if !b.closed.Swap(true) {
		b.answer.close()
	}
	return nil
}

// watch reads an answer's body and ends the request when no byte comes for
// wait. The timer runs only inside Read: a reader that is slow to come back
// is no stall.
type watch struct {
	body    io.Reader
	wait    time.Duration
	timer   *time.Timer
	stalled atomic.Bool
	bytes   *atomic.Int64
}

func newWatch(a *answer, wait time.Duration, bytes *atomic.Int64) *watch {
	w := &watch{body: a.Body, wait: wait, bytes: bytes}
	w.timer = time.AfterFunc(wait, func() { w.stalled.Store(true); a.end() })
	w.timer.Stop()
	return w
}

// Read implements io.Reader.
func (w *watch) Read(p []byte) (int, error) {
	w.timer.Reset(w.wait)
	n, err := w.body.Read(p)
	w.timer.Stop()
	w.bytes.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) && w.stalled.Load() {
		err = fmt.Errorf("%w for %s", errStalled, w.wait)
	}
	return n, err
}

// exact hands out left bytes and then io.EOF. An earlier end is an error: a
// body that ends with its connection has no other way to tell.
type exact struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (e *exact) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case e.left == 0:
		err = io.EOF
	case errors.Is(err, io.EOF):
		err = fmt.Errorf("the origin ended %d bytes early: %w", e.left, io.ErrUnexpectedEOF)
	}
	return n, err
}
