package histogram_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/histogram"
)

// A duration that is a bound itself counts as within it, as Prometheus has it.
func TestBounds(t *testing.T) {
	t.Parallel()
	d := histogram.New(time.Second, 10*time.Second)
	for _, took := range []time.Duration{0, time.Second, time.Second + 1, 10 * time.Second, time.Minute} {
		d.Observe(took)
	}
	got := d.Snapshot()
	want := histogram.Snapshot{
		Bounds: []time.Duration{time.Second, 10 * time.Second}, Counts: []uint64{2, 2, 1}, Sum: 72*time.Second + 1,
		Fine: map[int]uint64{0: 1, 1: 1, 27: 1, 48: 1}, // up to 1, 1.09, 10.4 and 64 s
	}
	if diff := cmp.Diff(want, got); diff != "" || got.Count() != 5 {
		t.Errorf("count %d, snapshot (-want +got):\n%s", got.Count(), diff)
	}
	d.Observe(0)
	if got.Count() != 5 {
		t.Error("a snapshot changes with what it was made of")
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	d := histogram.New(time.Second)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				d.Observe(time.Millisecond)
			}
		})
	}
	wg.Wait()
	if s := d.Snapshot(); s.Count() != 800 || s.Sum != 800*time.Millisecond {
		t.Errorf("%+v", s)
	}
}

// The last traced duration of each bucket is its example; others leave none.
func TestExemplars(t *testing.T) {
	t.Parallel()
	d := histogram.New(time.Second, time.Minute)
	d.Observe(time.Millisecond)
	if got := d.Snapshot().Traced; len(got) != 0 {
		t.Errorf("examples of nothing: %v", got)
	}
	at := time.Unix(1, 0)
	last := histogram.Exemplar{Trace: "b", Took: 2 * time.Millisecond, At: at}
	long := histogram.Exemplar{Trace: "c", Took: time.Hour, At: at}
	for _, e := range []histogram.Exemplar{{Trace: "a", Took: time.Second, At: at}, last, long, {Took: time.Hour}} {
		d.ObserveTraced(e)
	}
	got := d.Snapshot()
	if diff := cmp.Diff([]histogram.Exemplar{last, long}, got.Traced); diff != "" || got.Count() != 5 {
		t.Errorf("count %d, examples (-want +got):\n%s", got.Count(), diff)
	}
}
