package lab

import (
	"math"
	"testing"
	"time"
)

func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		text, printed string
		rate          Rate
	}{
		{"100mbit", "100mbit", 100e6},
		{"1Gbit", "1gbit", 1e9},
		{"1500kbit", "1500kbit", 1.5e6},
		{"8bit", "8bit", 8},
		{"0", "unshaped", 0},
	} {
		var r Rate
		if err := r.UnmarshalText([]byte(tt.text)); err != nil || r != tt.rate || r.String() != tt.printed {
			t.Errorf("rate %q = %d (%v), %v; want %d (%s)", tt.text, r, r, err, tt.rate, tt.printed)
		}
	}
	for text, want := range map[string]Size{"200MiB": 200 << 20, "4GiB": 4 << 30, "7B": 7} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want || s.String() != text {
			t.Errorf("size %q = %d (%v), %v; want %d", text, s, s, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "200", "200MB", "-1MiB", "0MiB", "99999999999GiB", "1.5GiB"} {
		if s := Size(-1); s.UnmarshalText([]byte(text)) == nil {
			t.Errorf("size %q is accepted as %d", text, s)
		}
	}
}

func TestBound(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name             string
		n                int
		size             Size
		source, up, down Rate
		want             time.Duration
	}{
		{"the source is the limit", 4, 100 * mib, 8 * mib, 800 * mib, 800 * mib, 100 * time.Second},
		{"a node's download is", 4, 100 * mib, 800 * mib, 800 * mib, 80 * mib, 10 * time.Second},
		{"all uploads together are", 10, 100 * mib, 80 * mib, 8 * mib, 800 * mib, 50 * time.Second},
		{"nothing is", 10, 100 * mib, 0, 0, 0, 0},
	} {
		if got := Bound(tt.n, tt.size, tt.source, tt.up, tt.down); math.Abs((got - tt.want).Seconds()) > 1e-6 {
			t.Errorf("%s: bound is %v, want %v", tt.name, got, tt.want)
		}
	}
}
