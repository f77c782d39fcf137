package daemon

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/api"
)

// Jobs are counted by state, those of no state with 0, and the last failure is
// told.
func TestPreheatMetrics(t *testing.T) {
	t.Parallel()
	at := func(unix int64) *time.Time { t := time.Unix(unix, 0); return &t }
	got := make(map[string]float64)
	for _, m := range preheatMetrics([]api.Preheat{
		{State: api.PreheatFailed, Ended: at(20)}, {State: api.PreheatFailed, Ended: at(10)}, {State: api.PreheatSucceeded, Ended: at(30)}, {State: api.PreheatRunning},
	}) {
		for _, s := range m.Samples {
			name := m.Name
			for _, l := range s.Labels {
				name += " " + l.Value
			}
			got[name] = s.Value
		}
	}
	want := map[string]float64{
		"p2psched_preheat_jobs pending": 0, "p2psched_preheat_jobs running": 1, "p2psched_preheat_jobs succeeded": 1, "p2psched_preheat_jobs failed": 2,
		"p2psched_preheat_jobs cancelled": 0, "p2psched_preheat_failure_timestamp_seconds": 20,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
