package choice_test

import (
	"math/rand/v2"
	"testing"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
)

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
			k := choice.NewPicker(rand.New(rand.NewPCG(1, 2)), 100)
			for i := range k.Rarity {
				k.Rarity[i] = 5
			}
			k.Rarity[c.rare] = 1
			got, ok := k.Pick(bits(c.has...), c.front)
			if ok == c.none || ok && got != c.want {
				t.Errorf("picked %d, %v; want %d", got, ok, c.want)
			}
		})
	}
}

// Among equals every piece is picked now and then.
func TestPickerIsRandomAmongEquals(t *testing.T) {
	k := choice.NewPicker(rand.New(rand.NewPCG(1, 2)), 20)
	all := piece.FullBitfield(20)
	seen := make(map[int]bool)
	for range 1000 {
		i, _ := k.Pick(&all, -1) // no reader waits for a piece
		seen[i] = true
	}
	if len(seen) != 20 {
		t.Errorf("picked only %d of 20 equal pieces in 1000 tries", len(seen))
	}
}
