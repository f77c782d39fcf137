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
		greedy1, _ := s.acquire(t.Context(), "greedy")
		greedy2, _ := s.acquire(t.Context(), "greedy")
		order := make(chan scheduler.PeerID, 2)
		for _, child := range []scheduler.PeerID{"greedy", "modest"} {
			go func() {
				release, err := s.acquire(context.Background(), child)
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
		release, _ := s.acquire(t.Context(), "a")
		if _, err := s.acquire(t.Context(), "b"); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v, want ErrBusy", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := s.acquire(ctx, "b"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		release()
		release() // a second call changes nothing
		if s.free != 1 || len(s.waiting) != 0 {
			t.Errorf("%d slots free, %d waiting", s.free, len(s.waiting))
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
