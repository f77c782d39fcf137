package peer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A slot that falls free goes to the child that has the fewest.
func TestSlotsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2)
		greedy1, _ := s.acquire(t.Context(), "greedy", ask{off: 1})
		greedy2, _ := s.acquire(t.Context(), "greedy", ask{off: 2})
		order := make(chan scheduler.PeerID, 2)
		for _, child := range []scheduler.PeerID{"greedy", "modest"} {
			go func() {
				release, err := s.acquire(context.Background(), child, ask{off: 3})
				if err != nil {
					t.Errorf("%s: %v", child, err)
					return
				}
				order <- child
				release()
			}()
			synctest.Wait()
		}
		greedy1()
		synctest.Wait()
		if first := <-order; first != "modest" {
			t.Errorf("first slot went to %s", first)
		}
		greedy2()
		<-order
		synctest.Wait()
		if !s.turns.Idle() || len(s.ready) != 0 {
			t.Errorf("slots leaked: %+v, %d wait", s.turns, len(s.ready))
		}
	})
}

// A child that waits too long is sent elsewhere, and takes no slot with it.
func TestSlotsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		release, _ := s.acquire(t.Context(), "a", ask{off: 1})
		if _, err := s.acquire(t.Context(), "b", ask{off: 2}); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v, want ErrBusy", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := s.acquire(ctx, "b", ask{off: 2}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		release()
		release() // a second call changes nothing
		if !s.turns.Idle() || len(s.ready) != 0 {
			t.Errorf("slots leaked: %+v, %d wait", s.turns, len(s.ready))
		}
	})
}

// While children wait, a piece that somebody has just had is not sent again.
func TestSlotsAreForWhatNobodyHasYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		release, _ := s.acquire(t.Context(), "a", ask{off: 1})
		if _, err := s.acquire(t.Context(), "b", ask{off: 1}); !errors.Is(err, ErrBusy) {
			t.Errorf("b asks for what a is getting: %v, want ErrBusy", err)
		}
		got := make(chan string, 3)
		wait := func(name string, child scheduler.PeerID, what ask) {
			go func() {
				release, err := s.acquire(context.Background(), child, what)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				got <- name
				release()
			}()
			synctest.Wait()
		}
		wait("c, 2", "c", ask{off: 2})
		wait("b, 2", "b", ask{off: 2}) // nobody has it yet, so it may wait
		wait("a, 3", "a", ask{off: 3})
		release()
		synctest.Wait()
		if order := []string{<-got, <-got, <-got}; order[0] != "c, 2" || order[1] != "a, 3" {
			t.Errorf("slots went to %q; what has been given comes last", order)
		}
		// With a slot free, everybody gets everything.
		if release, err := s.acquire(t.Context(), "d", ask{off: 1}); err != nil {
			t.Error(err)
		} else {
			release()
		}
	})
}
