package peer

import (
	"context"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// slots is choice.Slots for goroutines, which wait until it is their turn.
type slots struct {
	mu    sync.Mutex // guards what follows
	turns *choice.Slots[scheduler.PeerID, ask]
	ready map[*waiter]chan struct{} // closed when the slot is given
}

type waiter = choice.Waiter[scheduler.PeerID, ask]

// ask is what a child asks for: a piece.
type ask struct {
	digest piece.Digest
	off    int64
}

func newSlots(n int) *slots {
	return &slots{turns: choice.NewSlots[scheduler.PeerID, ask](n), ready: make(map[*waiter]chan struct{})}
}

// acquire waits for a slot to send a piece, choice.SlotWait at most. The
// returned function gives it back; calling it again changes nothing.
func (s *slots) acquire(ctx context.Context, child scheduler.PeerID, what ask) (release func(), err error) {
	s.mu.Lock()
	answer, w := s.turns.Ask(time.Now(), child, what)
	if answer != choice.Wait {
		s.mu.Unlock()
		if answer == choice.Busy {
			return nil, ErrBusy
		}
		return s.releaser(child), nil
	}
	ready := make(chan struct{})
	s.ready[w] = ready
	s.mu.Unlock()

	timer := time.NewTimer(choice.SlotWait)
	defer timer.Stop()
	select {
	case <-ready:
		return s.releaser(child), nil
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ready, w)
	if !s.turns.GiveUp(w) { // the slot came at the same moment
		s.put(child)
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

// put gives a slot back; mu is held.
func (s *slots) put(child scheduler.PeerID) {
	if w := s.turns.Release(time.Now(), child); w != nil {
		close(s.ready[w])
		delete(s.ready, w)
	}
}
