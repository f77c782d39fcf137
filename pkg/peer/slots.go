package peer

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// slotWait is how long a child may wait for a slot before it is told
	// to ask somebody else.
	slotWait = 500 * time.Millisecond
	// maxWaiting bounds the children in the queue. Past it the answer is
	// ErrBusy at once.
	maxWaiting = 128
	// spreadTime is how long whoever got a piece is left to pass it on.
	spreadTime = 3 * time.Second
	// maxGifts bounds the pieces remembered for that.
	maxGifts = 4096
)

// slots hands out a bounded number of upload slots. A free slot goes to the
// waiting child that has the fewest, so that one child with many requests
// cannot starve the others; among equals to the one that waits longest.
type slots struct {
	mu      sync.Mutex // guards what follows
	free    int
	active  map[scheduler.PeerID]int
	waiting []*waiter // in order of arrival
	gifts   map[ask]gift
}

// ask is what a child asks for: a piece.
type ask struct {
	digest piece.Digest
	off    int64
}

// gift says who got a piece last, and when.
type gift struct {
	child scheduler.PeerID
	at    time.Time
}

type waiter struct {
	child scheduler.PeerID
	what  ask
	ready chan struct{} // closed when the slot is given
	given bool
}

func newSlots(n int) *slots {
	return &slots{free: n, active: make(map[scheduler.PeerID]int), gifts: make(map[ask]gift)}
}

// acquire waits for a slot to send a piece. The returned function gives it
// back. Where children wait for slots, nobody gets a piece that another has
// just had: that one has it to give, and what only we have comes first. So a
// lone seed sends each piece about once, whoever asks.
func (s *slots) acquire(ctx context.Context, child scheduler.PeerID, what ask) (release func(), err error) {
	s.mu.Lock()
	if s.free > 0 {
		s.take(child, what)
		s.mu.Unlock()
		return s.releaser(child), nil
	}
	if len(s.waiting) >= maxWaiting || s.hadByOther(child, what) {
		s.mu.Unlock()
		return nil, ErrBusy
	}
	w := &waiter{child: child, what: what, ready: make(chan struct{})}
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

func (s *slots) take(child scheduler.PeerID, what ask) {
	s.free--
	s.active[child]++
	now := time.Now()
	if len(s.gifts) >= maxGifts {
		maps.DeleteFunc(s.gifts, func(_ ask, g gift) bool { return now.Sub(g.at) > spreadTime })
	}
	if len(s.gifts) < maxGifts {
		s.gifts[what] = gift{child, now}
	}
}

// hadByOther reports whether another child got a piece a moment ago.
func (s *slots) hadByOther(child scheduler.PeerID, what ask) bool {
	g, ok := s.gifts[what]
	return ok && g.child != child && time.Since(g.at) < spreadTime
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
		if s.prefers(w, s.waiting[best]) {
			best = i
		}
	}
	w := s.waiting[best]
	s.waiting = append(s.waiting[:best], s.waiting[best+1:]...)
	s.take(w.child, w.what)
	w.given = true
	close(w.ready)
}

// prefers reports whether a deserves a slot more than b.
func (s *slots) prefers(a, b *waiter) bool {
	if x, y := s.hadByOther(a.child, a.what), s.hadByOther(b.child, b.what); x != y {
		return y
	}
	return s.active[a.child] < s.active[b.child]
}
