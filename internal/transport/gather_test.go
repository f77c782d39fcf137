package transport

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The kernel must never wait for more than will come: whoever reads has at
// most gatherSlack in hand that the kernel has given already.
func TestGatherNeverWaitsForWhatWillNotCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, maxRange).Draw(t, "size")
		set := 1
		g := &gather{set: func(n int) error { set = n; return nil }, left: size, now: 1}
		for left := size; left > 0; {
			n := rapid.Int64Range(1, min(left, 256<<10)).Draw(t, "read")
			// As if that much had come within a nanosecond to minutes.
			g.begun = time.Now().Add(-time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "elapsed")))
			g.took(int(n))
			left -= n
			inHand := min(left, gatherSlack)
			if set > 1 && int64(set) > left-inHand {
				t.Fatalf("waits for %d bytes with %d to come, %d of them in hand", set, left, inHand)
			}
			if set < 1 || set > gatherMost {
				t.Fatalf("low-water mark %d", set)
			}
		}
		if set != 1 {
			t.Fatalf("the next response on this connection would wait for %d bytes", set)
		}
	})
}

func TestGatherFollowsTheRate(t *testing.T) {
	set := 1
	g := &gather{set: func(n int) error { set = n; return nil }, left: 8 << 20, now: 1}
	g.begun = time.Now().Add(-time.Second)
	g.took(1 << 20)
	if set < 16<<10 || set > 24<<10 {
		t.Errorf("at 1 MiB/s: %d bytes, want those of %v", set, gatherTime)
	}
}
