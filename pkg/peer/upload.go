package peer

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// DefaultUploadSlots is how many pieces a peer serves at once. Few
	// transfers at a time finish sooner each, and a piece helps the swarm
	// only once it is whole somewhere else.
	DefaultUploadSlots = 4
	// slotWait is how long a child may wait for a slot before it is told
	// to ask somebody else.
	slotWait = 500 * time.Millisecond
	// maxWaiting bounds the children in the queue. Past it the answer is
	// ErrBusy at once.
	maxWaiting = 128
)

// Upload is the content that one child gets. Reader is limited to the bytes
// asked for; on a disk store it is an *io.LimitedReader over an *os.File, so
// that copying it to a TCP connection uses sendfile.
type Upload struct {
	Reader io.Reader
	close  func()
}

// NewUpload is an upload of what r yields; release gives its slot back. For
// a Handler that is not a *Peer.
func NewUpload(r io.Reader, release func()) *Upload { return &Upload{Reader: r, close: release} }

// Close gives the slot back.
func (u *Upload) Close() { u.close() }

// slots hands out a bounded number of upload slots. A free slot goes to the
// waiting child that has the fewest, so that one child with many requests
// cannot starve the others; among equals to the one that waits longest.
type slots struct {
	mu      sync.Mutex // guards what follows
	free    int
	active  map[scheduler.PeerID]int
	waiting []*waiter // in order of arrival
}

type waiter struct {
	child scheduler.PeerID
	ready chan struct{} // closed when the slot is given
	given bool
}

func newSlots(n int) *slots {
	return &slots{free: n, active: make(map[scheduler.PeerID]int)}
}

// acquire waits for a slot. The returned function gives it back.
func (s *slots) acquire(ctx context.Context, child scheduler.PeerID) (release func(), err error) {
	s.mu.Lock()
	if s.free > 0 {
		s.take(child)
		s.mu.Unlock()
		return s.releaser(child), nil
	}
	if len(s.waiting) >= maxWaiting {
		s.mu.Unlock()
		return nil, ErrBusy
	}
	w := &waiter{child: child, ready: make(chan struct{})}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()

	timer := time.NewTimer(slotWait)
	defer timer.Stop()
	select {
	case <-w.ready:
		return s.releaser(child), nil
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.given { // the slot came at the same moment
		s.put(child)
		return nil, err
	}
	for i, x := range s.waiting {
		if x == w {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			break
		}
	}
	return nil, err
}

func (s *slots) releaser(child scheduler.PeerID) func() {
	var once sync.Once
	return func() {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.put(child)
		})
	}
}

func (s *slots) take(child scheduler.PeerID) {
	s.free--
	s.active[child]++
}

// put gives child's slot back and on to whoever deserves it most.
func (s *slots) put(child scheduler.PeerID) {
	s.free++
	if s.active[child]--; s.active[child] == 0 {
		delete(s.active, child)
	}
	if len(s.waiting) == 0 {
		return
	}
	best := 0
	for i, w := range s.waiting {
		if s.active[w.child] < s.active[s.waiting[best].child] {
			best = i
		}
	}
	w := s.waiting[best]
	s.waiting = append(s.waiting[:best], s.waiting[best+1:]...)
	s.take(w.child)
	w.given = true
	close(w.ready)
}
