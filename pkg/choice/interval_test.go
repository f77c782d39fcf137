package choice_test

import (
	"slices"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
)

// looks is at which of so many looks, a second apart, something was due, that is wanted
// every so often.
func looks(i *choice.Interval, n int, every time.Duration) (due []int) {
	begun := time.Unix(1000, 0)
	for k := 1; k <= n; k++ {
		if i.Over(begun.Add(time.Duration(k)*time.Second), every) {
			due = append(due, k)
		}
	}
	return due
}

// However much of the first interval is left, those after it are whole.
func TestIntervals(t *testing.T) {
	for _, c := range []struct {
		name  string
		part  float64
		every time.Duration
		want  []int
	}{
		{"each look", 0.9, time.Second, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"nobody said how often", 0.9, 0, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"nothing of the first", 0, 4 * time.Second, []int{1, 5, 9}},
		{"half of the first", 0.5, 4 * time.Second, []int{2, 6, 10}},
		{"nearly all of it", 0.99, 4 * time.Second, []int{4, 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := choice.Interval{Least: time.Second}
			i.Begin(time.Unix(1000, 0), c.part)
			if got := looks(&i, 10, c.every); !slices.Equal(got, c.want) {
				t.Errorf("due at looks %v, want %v", got, c.want)
			}
		})
	}
}

// A crowd that begins at once is due evenly over the first interval.
func TestACrowdIsDueEvenly(t *testing.T) {
	at := make(map[int]int)
	for k := range 1000 {
		i := choice.Interval{Least: time.Second}
		i.Begin(time.Unix(1000, 0), float64(k)/1000)
		at[looks(&i, 4, 4*time.Second)[0]]++
	}
	for look := 1; look <= 4; look++ {
		if n := at[look]; n < 200 || n > 300 {
			t.Errorf("%d of 1000 are due at look %d of 4, want about a quarter", n, look)
		}
	}
}
