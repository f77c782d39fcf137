package transport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// protocolHave names the HAVE stream in libp2p. A change of the frames that
// old peers cannot read gets a new number.
const protocolHave = "/p2pd/have/1"

const (
	// frameTimeout is how long a write, or the rest of a frame that has
	// begun, may take before the neighbour counts as dead.
	frameTimeout = 10 * time.Second
	// writeStep is how much is written under one frameTimeout.
	writeStep = 256 << 10
	// A peer is dialled again no sooner than firstRetry after a failure,
	// doubled for each one in a row up to lastRetry: low enough that a peer
	// that restarts is back at once, high enough that a dead one costs one
	// SYN in two seconds.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
	// settled is how long a link must last to count as a success.
	settled = 10 * time.Second
)

// outbound is our stream to one neighbour, with what waits to be written. The
// lock of links guards to, pending and made.
type outbound struct {
	ctx    context.Context // ends when the link is cut; its cause says why
	cancel context.CancelCauseFunc
	to     scheduler.Peer // with the addresses that were told last
	// pending are whole frames. The writer takes them all at once, so that
	// what piles up during a write goes out together.
	pending []byte
	// wake has room for one: pending is not empty, or retry was reset.
	wake chan struct{}
	made time.Time // when the stream was made; zero before
}

func newOutbound(to scheduler.Peer) *outbound {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &outbound{ctx: ctx, cancel: cancel, to: to, wake: make(chan struct{}, 1)}
}

// push appends the frames of m unless that makes more than limit bytes.
func (o *outbound) push(m peer.Message, limit int) error {
	grown, err := appendMessage(o.pending, m)
	if err != nil {
		return err
	}
	if len(grown) > limit {
		return errQueueFull
	}
	o.pending = grown
	o.poke()
	return nil
}

func (o *outbound) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// backOff sets when n is dialled next, after the link with out ended. out is
// nil if only the neighbour had spoken.
func (n *neighbour) backOff(out *outbound) {
	if out == nil {
		return
	}
	now := time.Now()
	if !out.made.IsZero() && now.Sub(out.made) > settled {
		n.failures = 0
	}
	n.retry = now.Add(min(firstRetry<<min(n.failures, 16), lastRetry))
	n.failures++
}

// run starts the goroutine that makes and feeds our stream to n. The caller
// holds the lock.
func (l *links) run(n *neighbour, out *outbound) {
	l.wg.Go(func() {
		err := l.drive(n, out)
		if cause := context.Cause(out.ctx); cause != nil {
			err = cause
		}
		l.cut(n, out, nil, err)
		out.cancel(err)
	})
}

// drive makes our stream and writes to it until something breaks.
func (l *links) drive(n *neighbour, out *outbound) error {
	if err := l.awaitRetry(n, out); err != nil {
		return err
	}
	s, err := l.dial(n.id, out)
	if err != nil {
		l.count.dialsFailed.Add(1)
		return err
	}
	stop := context.AfterFunc(out.ctx, func() { s.Reset() })
	defer stop()
	defer s.Reset()
	l.mu.Lock()
	out.made = time.Now()
	l.mu.Unlock()
	l.wg.Go(func() { watch(s, out) })
	for {
		frames, err := l.take(out)
		if err != nil {
			return err
		}
		if err := l.write(s, frames); err != nil {
			if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				// Not only the stream hangs: dial afresh next time.
				l.host.Network().ClosePeer(n.id)
			}
			return fmt.Errorf("write to neighbour: %w", err)
		}
	}
}

// awaitRetry waits until n may be dialled. A stream that n opens to us ends
// the wait, because it is proof of life.
func (l *links) awaitRetry(n *neighbour, out *outbound) error {
	for {
		l.mu.Lock()
		wait := time.Until(n.retry)
		l.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-out.wake:
		case <-out.ctx.Done():
			timer.Stop()
			return context.Cause(out.ctx)
		}
		timer.Stop()
	}
}

// dial opens our stream, over a connection that is there or a new one.
func (l *links) dial(id libpeer.ID, out *outbound) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(out.ctx, dialTimeout)
	defer cancel()
	l.mu.Lock()
	to := libpeer.AddrInfo{ID: id, Addrs: dialAddrs(out.to.Addrs)}
	l.mu.Unlock()
	known := l.host.Network().Connectedness(id) == network.Connected
	if !known {
		// Addresses from before the peer restarted only waste the second,
		// and the pace of dials is ours (awaitRetry).
		if len(to.Addrs) > 0 {
			l.host.Peerstore().ClearAddrs(id)
		}
		if s, ok := l.host.Network().(*swarm.Swarm); ok {
			s.Backoff().Clear(id)
		}
		if err := l.host.Connect(ctx, to); err != nil {
			return nil, fmt.Errorf("dial neighbour: %w", err)
		}
	}
	s, err := l.host.NewStream(ctx, id, protocolHave)
	if err != nil {
		if known && ctx.Err() != nil {
			l.host.Network().ClosePeer(id) // the connection is dead
		}
		return nil, fmt.Errorf("open stream to neighbour: %w", err)
	}
	return s, nil
}

// watch notices that the neighbour has ended our stream, on which it never
// says anything.
func watch(s network.Stream, out *outbound) {
	var one [1]byte
	_, err := s.Read(one[:])
	if err == nil {
		err = errors.New("neighbour wrote to our stream")
	}
	out.cancel(fmt.Errorf("%w: %w", errStreamDone, err))
}

// take waits for frames to write.
func (l *links) take(out *outbound) ([]byte, error) {
	for {
		l.mu.Lock()
		frames := out.pending
		out.pending = nil
		l.mu.Unlock()
		if len(frames) > 0 {
			return frames, nil
		}
		select {
		case <-out.wake:
		case <-out.ctx.Done():
			return nil, context.Cause(out.ctx)
		}
	}
}

func (l *links) write(s network.Stream, frames []byte) error {
	for len(frames) > 0 {
		if err := s.SetWriteDeadline(time.Now().Add(frameTimeout)); err != nil {
			return err
		}
		n, err := s.Write(frames[:min(len(frames), writeStep)])
		l.count.linkBytesOut.Add(int64(n))
		if err != nil {
			return err
		}
		frames = frames[n:]
	}
	return nil
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
