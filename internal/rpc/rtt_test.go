package rpc

import (
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	r, now := newRoundTrips(), time.Unix(0, 0)
	a, b := piece.Sum([]byte("a")), piece.Sum([]byte("b"))
	r.asked(a, now)
	r.asked(b, now)
	r.answered(a, now.Add(30*time.Millisecond))
	r.answered(a, now.Add(time.Second))              // says more of it
	r.answered(b, now.Add(waitMost+time.Nanosecond)) // has another reason
	if s := r.took.Snapshot(); s.Count() != 1 || s.Sum != 30*time.Millisecond {
		t.Errorf("%+v", s)
	}
}

// What is never answered does not take the place of what is.
func TestRoundTripsAreBounded(t *testing.T) {
	t.Parallel()
	r, now := newRoundTrips(), time.Unix(0, 0)
	for i := range 2 * waitsMost {
		r.asked(piece.Digest{byte(i), byte(i >> 8)}, now)
	}
	if len(r.since) != waitsMost {
		t.Errorf("%d wait", len(r.since))
	}
	later := now.Add(2 * waitMost)
	d := piece.Sum([]byte("late"))
	r.asked(d, later)
	r.answered(d, later.Add(time.Millisecond))
	if s := r.took.Snapshot(); s.Count() != 1 || len(r.since) != 0 {
		t.Errorf("%d answered, %d wait", s.Count(), len(r.since))
	}
}
