package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/internal/throttle"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// contentRange is "bytes FIRST-LAST/SIZE" (RFC 9110 §14.4).
var contentRange = regexp.MustCompile(`^bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)$`)

// checkRange holds a 206 against what was asked for: [off, off+n), to the end
// if n is negative. It returns the blob's size and the answer's length.
func checkRange(r *http.Response, off, n int64) (size, length int64, err error) {
	v := r.Header.Get("Content-Range")
	m := contentRange.FindStringSubmatch(v)
	if m == nil {
		return 0, 0, fmt.Errorf("origin sent Content-Range %q", clean(v))
	}
	first, _ := strconv.ParseInt(m[1], 10, 64) // 18 digits always fit
	last, _ := strconv.ParseInt(m[2], 10, 64)
	size = scheduler.SizeUnknown
	if m[3] != "*" {
		size, _ = strconv.ParseInt(m[3], 10, 64)
	}
	length = last - first + 1
	switch {
	case first != off, length <= 0, size != scheduler.SizeUnknown && last >= size,
		n >= 0 && length > n, r.ContentLength >= 0 && r.ContentLength != length:
		return 0, 0, fmt.Errorf("origin sent range %q where bytes from %d were asked for", clean(v), off)
	}
	return size, length, nil
}

// errStalled ends a body that shows no byte for too long.
var errStalled = errors.New("origin stopped sending")

// body is an answer's content: limited, throttled, counted, and cut when it
// stalls.
type body struct {
	r      io.Reader
	close  func() error
	timer  *time.Timer
	wait   time.Duration
	stuck  atomic.Bool
	count  *atomic.Int64
	closed atomic.Bool
}

// body wraps resp. It ends the request's context when it is closed, and when
// no byte comes for the stall timeout; time spent waiting for our own limit,
// or for a reader that is slow, does not count.
func (o *Origin) body(ctx context.Context, cancel context.CancelFunc, resp *http.Response, n int64) io.ReadCloser {
	b := &body{wait: o.cfg.StallTimeout, count: &o.stats.bytes}
	b.timer = time.AfterFunc(time.Hour, func() { b.stuck.Store(true); cancel() })
	b.timer.Stop()
	var r io.Reader = timedReader{b, resp.Body}
	if n >= 0 {
		r = io.LimitReader(r, n)
	}
	b.r = throttle.Reader(ctx, r, o.cfg.Download)
	b.close = func() error { b.timer.Stop(); cancel(); return resp.Body.Close() }
	return b
}

// timedReader arms the stall timer around each read.
type timedReader struct {
	b *body
	r io.Reader
}

func (t timedReader) Read(p []byte) (int, error) {
	t.b.timer.Reset(t.b.wait)
	n, err := t.r.Read(p)
	t.b.timer.Stop()
	t.b.count.Add(int64(n))
	if err != nil && t.b.stuck.Load() {
		err = fmt.Errorf("%w for %s", errStalled, t.b.wait)
	}
	return n, err
}

func (b *body) Read(p []byte) (int, error) { return b.r.Read(p) }

// Close implements io.Closer; a second call does nothing.
func (b *body) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	return b.close()
}
