package choice_test

import (
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
)

// What a request takes until its first byte comes is made up for by more of them,
// in proportion to what a piece takes after that, and never without end.
func TestPaceAsksEarly(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name        string
		lead, piece time.Duration
		want        int
	}{
		{name: "no way at all", lead: 0, piece: 100 * ms, want: 0},
		{name: "a short way", lead: ms / 2, piece: 100 * ms, want: 0},
		{name: "lines with a queue", lead: 60 * ms, piece: 550 * ms, want: 1},
		{name: "twice that", lead: 110 * ms, piece: 600 * ms, want: 3},
		{name: "as far as the piece is long", lead: 100 * ms, piece: 200 * ms, want: 4},
		{name: "nothing but the way", lead: 100 * ms, piece: 100 * ms, want: 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p choice.Pace
			for range 10 {
				p.Observe(1<<20, time.Hour) // from a slow registry: another matter
				p.ObserveNeighbour(1<<20, c.lead, c.piece)
			}
			if got := p.Early(1 << 20); got != c.want {
				t.Errorf("%d more than usual, want %d", got, c.want)
			}
		})
	}
}

// Requests that waited for a slot say nothing about the way; and nothing is said
// before there is enough to say it by.
func TestPaceTellsTheWayFromTheQueue(t *testing.T) {
	var p choice.Pace
	for i := range 33 {
		if i == 4 && p.Early(1<<20) != 0 {
			t.Error("four transfers are believed")
		}
		lead := time.Millisecond
		if i%2 == 0 {
			lead = 200 * time.Millisecond
		}
		p.ObserveNeighbour(1<<20, lead, 500*time.Millisecond)
	}
	if got := p.Early(1 << 20); got != 0 {
		t.Errorf("%d more than usual where half of the requests wait for a slot, want 0", got)
	}
}

func TestPaceExpectsTheMedian(t *testing.T) {
	var p choice.Pace
	for _, ms := range []int{10, 900, 20, 20} {
		p.Observe(1000, time.Duration(ms)*time.Millisecond)
	}
	if _, ok := p.Expect(1000); ok {
		t.Error("four transfers are believed")
	}
	p.Observe(1000, 30*time.Millisecond)
	if got, ok := p.Expect(500); !ok || got.Round(time.Millisecond) != 10*time.Millisecond {
		t.Errorf("half of the bytes are expected to take %v, %v; want 10ms", got, ok)
	}
	for range 33 { // the old ones are forgotten
		p.Observe(1000, time.Second)
	}
	if got, _ := p.Expect(1000); got != time.Second {
		t.Errorf("expects %v, want 1s", got)
	}
}

// More than usual may be under way to one download, and to all of a node.
func TestMayFetchEarly(t *testing.T) {
	for _, c := range []struct {
		download, node, early int
		want                  bool
	}{
		{1, 100, 0, true}, // each may have some
		{5, 7, 0, true},
		{6, 6, 0, false},
		{5, 8, 0, false},
		{6, 6, 1, true},
		{7, 7, 1, false},
		{5, 8, 1, true},
		{5, 9, 1, false},
	} {
		if got := choice.MayFetch(c.download, c.node, c.early); got != c.want {
			t.Errorf("MayFetch(%d, %d, %d) = %v", c.download, c.node, c.early, got)
		}
	}
}
