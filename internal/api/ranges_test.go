package api_test

import (
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/internal/api"
)

func each(runs [][2]int) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for _, r := range runs {
			if !yield(r[0], r[1]) {
				return
			}
		}
	}
}

func TestRanges(t *testing.T) {
	for _, tt := range []struct {
		runs [][2]int
		want string
	}{
		{nil, ""},
		{[][2]int{{0, 1}}, "0"},
		{[][2]int{{0, 16}, {20, 21}, {30, 32}}, "0-15,20,30-31"},
		{[][2]int{{3, 3}}, ""},
	} {
		if got := api.Ranges(each(tt.runs)); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.runs, got, tt.want)
		}
	}
	for _, bad := range []string{"x", "1-", "-1", "5-4", "3,2", "0-8", "8", "1,1", ","} {
		if err := api.ParseRanges(bad, 8, func(int, int) {}); err == nil {
			t.Errorf("%q was taken for ranges of 8 pieces", bad)
		}
	}
}

// What is written is read back.
func TestRangesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want [][2]int
		at := 0
		for range rapid.IntRange(0, 20).Draw(t, "runs") {
			first := at + rapid.IntRange(0, 9).Draw(t, "gap")
			at = first + rapid.IntRange(1, 9).Draw(t, "length")
			want = append(want, [2]int{first, at})
		}
		s := api.Ranges(each(want))
		var got [][2]int
		if err := api.ParseRanges(s, at, func(first, end int) { got = append(got, [2]int{first, end}) }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", s, diff)
		}
	})
}
