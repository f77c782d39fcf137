package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// worthResuming is how much of an answer must have come before its end in the
// middle is answered with another request: it bounds how many requests an
// origin can make of one read.
const worthResuming = 64 << 10

// resumed is the content of a blob. Where a body ends early, the rest is asked
// for by another request, at the next endpoint if there are several: what came
// is not fetched again. A body that stalls is not resumed, for whoever reads
// may know a better way by then.
type resumed struct {
	b    blob
	ctx  context.Context
	next int64 // the first byte that has not come
	end  int64 // the first byte that is not wanted
	size int64 // of the blob
	came int64 // of the body that is read now

	mu     sync.Mutex // guards what follows
	body   *body
	closed bool
}

// Read implements io.Reader.
func (r *resumed) Read(p []byte) (int, error) {
	n, err := r.current().Read(p)
	r.next += int64(n)
	r.came += int64(n)
	if err == nil || errors.Is(err, io.EOF) || !r.worth(err) {
		return n, err
	}
	if again := r.again(); again != nil {
		return n, fmt.Errorf("%w; going on at %d: %w", err, r.next, again)
	}
	return n, nil
}

// worth reports whether a failure may be answered with another request.
func (r *resumed) worth(err error) bool {
	return r.next < r.end && r.came >= worthResuming && r.ctx.Err() == nil && !errors.Is(err, errStalled)
}

// again asks for the rest.
func (r *resumed) again() error {
	body, s, err := r.b.open(r.ctx, r.next, r.end-r.next)
	if err != nil {
		return err
	}
	if s.size != r.size {
		_ = body.Close()
		return fmt.Errorf("the origin says that it has %d bytes, after %d", s.size, r.size)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.Join(context.Canceled, body.Close())
	}
	_ = r.body.Close() // has failed
	r.body, r.came = body, 0
	return nil
}

func (r *resumed) current() *body {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body
}

// Close implements io.Closer, as that of a body.
func (r *resumed) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.body.Close()
}
