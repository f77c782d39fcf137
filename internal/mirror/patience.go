package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Arrivals tells how the arrival of blobs fares. The peer's engine is the
// real one.
type Arrivals interface {
	// Arrival is asked about a blob that a request waits for. It does not
	// block. Promised is zero where nothing is known of the blob.
	Arrival(d piece.Digest) Arrival
}

// Arrival is evidence that bytes of a blob are on their way.
type Arrival struct {
	// Bytes is how much has ever come in at this node, of all blobs, from
	// anybody, verified or not. Other blobs count, since the line that is
	// busy with them is what this one waits for.
	Bytes int64
	// Promised is when a neighbour that has what is missing of this blob was
	// last heard of: it offered a piece, or asked for patience because it is
	// busy with others.
	Promised time.Time
}

// errLate is wrapped where a wait for bytes was given up.
var errLate = errors.New("nothing arrived in time")

// patience decides how long a client waits for the next byte. At the end of
// each window it looks for a reason to wait for another one; with none, or
// past the limit, the wait ends. Hence a client whose bytes are not coming is
// told within one window, and the others do not run to the origin.
//
// It is for one wait. Make one with wait.
type patience struct {
	window, limit time.Duration
	// reason reports whether there was one in the window that ends now. Nil:
	// there never is.
	reason func() bool
	// exempt reports whether only chunkLimit counts now. Nil: limit counts.
	exempt func() bool

	began  time.Time
	cancel context.CancelCauseFunc

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	ended bool
}

// wait begins the wait, which counts from began. The context ends when
// patience does, with a cause that wraps errLate; the function ends it early
// and must be called.
func (p *patience) wait(ctx context.Context, began time.Time) (context.Context, context.CancelFunc) {
	p.began = began
	ctx, p.cancel = context.WithCancelCause(ctx)
	p.arm(time.Until(began.Add(p.window)))
	return ctx, p.end
}

func (p *patience) arm(in time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.timer = time.AfterFunc(in, p.look)
	}
}

// look runs at the end of each window.
func (p *patience) look() {
	excused, limit := p.reason != nil && p.reason(), p.limit
	if p.exempt != nil && p.exempt() {
		excused, limit = true, max(limit, chunkLimit)
	}
	left := time.Until(p.began.Add(limit))
	switch {
	case excused && left > 0:
		p.arm(min(p.window, left))
	case excused:
		p.cancel(fmt.Errorf("%w: bytes are on their way, but after %v not the next ones", errLate, limit))
	default:
		p.cancel(fmt.Errorf("%w: no sign of it for %v", errLate, p.window))
	}
}

func (p *patience) end() {
	p.mu.Lock()
	p.ended = true
	p.timer.Stop()
	p.mu.Unlock()
	p.cancel(context.Canceled)
}

// explain makes the reason why a wait was given up part of the error that
// came of it.
func explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errLate) && !errors.Is(err, errLate) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// arriving is a patience's reason: within the last window, bytes came in so
// fast that a first piece of the blob can be among them before the limit, or a
// neighbour promised one. size is the blob's, negative if not known. Without Arrivals there is always reason: the limit
// alone counts.
func (m *Mirror) arriving(d piece.Digest, size int64) func() bool {
	if m.cfg.Arrivals == nil {
		return func() bool { return true }
	}
	last, since := m.cfg.Arrivals.Arrival(d).Bytes, time.Now()
	return func() bool {
		now := m.cfg.Arrivals.Arrival(d)
		share := float64(time.Since(since)) / float64(m.cfg.WaitLimit)
		enough := max(1, int64(share*float64(firstPiece(size))))
		ok := now.Bytes-last >= enough || now.Promised.After(since)
		last, since = now.Bytes, time.Now()
		return ok
	}
}

// firstPiece is how many bytes have to come in before a client can have the
// first one: pieces are verified whole.
func firstPiece(size int64) int64 {
	l, err := piece.NewLayout(size)
	if err != nil {
		return piece.MinSize
	}
	return min(size, l.PieceSize())
}
