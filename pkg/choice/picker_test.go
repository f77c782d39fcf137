package choice_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
)

// The picker prefers the rarest piece of the window, and looks past the
// window only when the neighbour has nothing in it.
func TestPicker(t *testing.T) {
	bits := func(is ...int) *piece.Bitfield {
		b := piece.NewBitfield(300)
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
		{name: "window before a rarer piece beyond", has: []int{3, 180}, rare: 180, want: 3},
		{name: "beyond when the window has nothing", has: []int{160, 180}, rare: 180, want: 180},
		{name: "behind the front last", has: []int{2}, rare: 2, front: 50, want: 2},
		{name: "front moves the window", has: []int{2, 55}, rare: 2, front: 50, want: 55},
		{name: "the reader's piece before a rarer one", has: []int{50, 55}, rare: 55, front: 50, want: 50},
		{name: "nothing", none: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := choice.NewPicker(rand.New(rand.NewPCG(1, 2)), 300)
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

// Of a far neighbour only what no near one has is asked: first what falls to
// this peer, later what falls to those after it, in their order.
func TestPickerCrossesOnce(t *testing.T) {
	const turn = time.Second
	start := time.Unix(1000, 0)
	all := piece.FullBitfield(8)
	gateway := func(index int) *choice.Picker {
		k := choice.NewPicker(rand.New(rand.NewPCG(1, 2)), 8)
		k.Share = choice.Share{Index: index, Of: 4}
		near := piece.NewBitfield(8)
		near.Set(1)
		k.Add(&all, true, start)
		k.Add(&near, false, start)
		return k
	}
	drain := func(k *choice.Picker, after time.Duration) (got []int) {
		for {
			i, ok := k.PickFar(&all, 0, start.Add(after), turn)
			if !ok {
				slices.Sort(got)
				return got
			}
			k.Need.Clear(i)
			got = append(got, i)
		}
	}
	for index, want := range [][]int{{0, 4}, {5}, {2, 6}, {3, 7}} { // 1 is near
		if got := drain(gateway(index), 0); !slices.Equal(got, want) {
			t.Errorf("gateway %d brings %v, want %v", index, got, want)
		}
	}
	for _, c := range []struct {
		after time.Duration
		want  []int
	}{{1100 * time.Millisecond, []int{0, 3, 4, 7}}, {2100 * time.Millisecond, []int{0, 2, 3, 4, 6, 7}}, {time.Minute, []int{0, 2, 3, 4, 5, 6, 7}}} {
		if got := drain(gateway(0), c.after); !slices.Equal(got, c.want) {
			t.Errorf("after %v gateway 0 brings %v, want %v", c.after, got, c.want)
		}
	}
	k := gateway(0)
	k.Lose(1, false)
	k.Share = choice.Share{} // introduced to a far one without being a gateway
	if got := drain(k, 0); len(got) != 8 {
		t.Errorf("whoever has no share may fetch %v, want all", got)
	}
}
