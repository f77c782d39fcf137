package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
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
		if s.free != 2 || len(s.active) != 0 || len(s.waiting) != 0 {
			t.Errorf("slots leaked: %d free, active %v, %d waiting", s.free, s.active, len(s.waiting))
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
		if s.free != 1 || len(s.waiting) != 0 {
			t.Errorf("%d slots free, %d waiting", s.free, len(s.waiting))
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

// The picker prefers the rarest piece of the window, and looks past the
// window only when the neighbour has nothing in it.
func TestPicker(t *testing.T) {
	bits := func(is ...int) *piece.Bitfield {
		b := piece.NewBitfield(100)
		for _, i := range is {
			b.Set(i)
		}
		return &b
	}
	for _, c := range []struct {
		name  string
		has   []int
		rare  int // the piece that fewest have
		front int
		want  int
		none  bool
	}{
		{name: "rarest in the window", has: []int{3, 7, 9}, rare: 7, want: 7},
		{name: "window before a rarer piece beyond", has: []int{3, 80}, rare: 80, want: 3},
		{name: "beyond when the window has nothing", has: []int{60, 80}, rare: 80, want: 80},
		{name: "behind the front last", has: []int{2}, rare: 2, front: 50, want: 2},
		{name: "front moves the window", has: []int{2, 55}, rare: 2, front: 50, want: 55},
		{name: "the reader's piece before a rarer one", has: []int{50, 55}, rare: 55, front: 50, want: 50},
		{name: "nothing", none: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newPicker(rand.New(rand.NewPCG(1, 2)), 100)
			for i := range k.rarity {
				k.rarity[i] = 5
			}
			k.rarity[c.rare] = 1
			got, ok := k.pick(bits(c.has...), c.front)
			if ok == c.none || ok && got != c.want {
				t.Errorf("picked %d, %v; want %d", got, ok, c.want)
			}
		})
	}
}

// Among equals every piece is picked now and then.
func TestPickerIsRandomAmongEquals(t *testing.T) {
	k := newPicker(rand.New(rand.NewPCG(1, 2)), 20)
	all := piece.FullBitfield(20)
	seen := make(map[int]bool)
	for range 1000 {
		i, _ := k.pick(&all, -1) // no reader waits for a piece
		seen[i] = true
	}
	if len(seen) != 20 {
		t.Errorf("picked only %d of 20 equal pieces in 1000 tries", len(seen))
	}
}
