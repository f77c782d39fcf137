package ctl

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/api"
)

func TestWaterfall(t *testing.T) {
	t.Parallel()
	at := func(ms int) time.Time { return started.Add(time.Duration(ms) * time.Millisecond) }
	event := func(ms int, kind string) api.Event { return api.Event{At: at(ms), Last: at(ms), Times: 1, Kind: kind} }
	all := fallsOf([]api.Explanation{
		{Name: "r.test/app:1", Entries: []api.Event{event(0, "asked")}}, // a tag never arrives
		{Name: base, Entries: []api.Event{event(0, "asked"), event(0, "joined"), event(500, "complete")}, Given: []api.Given{{From: "origin", Bytes: 1 << 20}}},
		// It failed once, and is on its way again.
		{Name: app, Entries: []api.Event{event(100, "joined"), event(200, "failed"), event(400, "joined")}, Given: []api.Given{{From: me, Bytes: 2 << 20}}},
		{Name: "sha256:33", Entries: []api.Event{event(300, "asked"), event(400, "complete")}}, // it was here
	})
	end := at(500)
	want := []fall{
		{Name: base, Began: at(0), Ended: &end, Outcome: "complete", Bytes: api.Bytes{Origin: 1 << 20}},
		{Name: app, Began: at(400), Outcome: "running", Bytes: api.Bytes{Peers: 2 << 20}},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var out bytes.Buffer
	shows := waterfall(false, all, at(800))
	shows.write(&out, false, true)
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{
		"  1fb54c666de1     0s  500ms  complete         0 B      1.0 MiB  " + strings.Repeat("█", 30) + strings.Repeat("·", 18),
		"  22274e00642b  400ms  400ms  running      2.0 MiB          0 B  " + strings.Repeat("·", 24) + strings.Repeat("█", 24),
	} {
		if got := lines[2+i]; got != want {
			t.Errorf("line %d is\n%q, want\n%q", i, got, want)
		}
	}
}

// One that took no time at all has a cell, too, and none is past the end.
func TestWaterfallOfAMoment(t *testing.T) {
	t.Parallel()
	end := started
	table := waterfall(false, []fall{{Name: base, Began: started, Ended: &end, Outcome: "complete"}}, started)
	if got := table.rows[0][6]; got != "█"+strings.Repeat("·", barCells-1) {
		t.Errorf("%q", got)
	}
}
