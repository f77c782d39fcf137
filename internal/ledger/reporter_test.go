package ledger

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/pulls"
)

// A reporter tells a little at a time, in the order in which it happened; what
// waits for a scheduler waits, and what is too much is counted.
func TestReporter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards what follows
		var told []Report
		there, looked := false, 0
		due := func(time.Time) {
			mu.Lock()
			defer mu.Unlock()
			looked++
		}
		r := NewReporter(ReporterConfig{Due: due, Send: func(one Report) bool {
			mu.Lock()
			defer mu.Unlock()
			if there {
				told = append(told, one)
			}
			return there
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		const many = pullsKept + 10
		for i := range many {
			r.Ended(pull(fmt.Sprint(i), time.Duration(i), 1))
		}
		var j journal.Journal
		j.Listeners = append(j.Listeners, r)
		j.Note("sha256:1", time.Now(), journal.False, "false bytes")
		j.Note("sha256:1", time.Now(), journal.Waiting, "nothing comes")
		j.Settle("sha256:1", nil)
		for range 3 {
			r.Happened(time.Now(), Incident{Kind: api.IncidentRefusal, About: "app", Status: 401, Reason: "Bearer abcdefghij"})
		}
		r.Checked(api.CheckRun{Node: "worker-1"})
		time.Sleep(2 * reportEvery)
		synctest.Wait()
		mu.Lock()
		if len(told) != 0 || looked == 0 {
			t.Errorf("told %d without a scheduler, looked %d times", len(told), looked)
		}
		there = true
		mu.Unlock()
		time.Sleep(20 * reportEvery)
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		var all Report
		for _, one := range told {
			if len(one.Pulls) > PullsMost || len(one.Incidents) > IncidentsMost || len(one.Checks) > ChecksMost {
				t.Errorf("too much at a time: %+v", one)
			}
			all.Pulls, all.Incidents, all.Checks = append(all.Pulls, one.Pulls...), append(all.Incidents, one.Incidents...), append(all.Checks, one.Checks...)
			all.LeftOut += one.LeftOut
		}
		if len(all.Pulls) != pullsKept || all.LeftOut != many-pullsKept || all.Pulls[0].Took != many-pullsKept || all.Pulls[pullsKept-1].Took != many-1 {
			t.Errorf("%d pulls, %d left out", len(all.Pulls), all.LeftOut)
		}
		if len(all.Incidents) != 2 || all.Incidents[0].Kind != api.IncidentVerify || all.Incidents[1].Times != 3 || all.Incidents[1].Reason != "Bearer [redacted]" {
			t.Errorf("%+v", all.Incidents)
		}
		if len(all.Checks) != 1 || len(told) != pullsKept/PullsMost {
			t.Errorf("%d checks in %d reports", len(all.Checks), len(told))
		}
	})
}

// Of a pull of more blobs than are told of, the first are, and the rest counted.
func TestAPullOfManyBlobs(t *testing.T) {
	t.Parallel()
	r := NewReporter(ReporterConfig{Send: func(Report) bool { return false }})
	r.Ended(pull("app", time.Second, BlobsMost+5))
	if p := r.pulls[0]; len(p.Blobs) != BlobsMost || p.More != 5 {
		t.Errorf("%d blobs, %d more", len(p.Blobs), p.More)
	}
	var nobody *Reporter
	nobody.Ended(pulls.Record{})
	nobody.Happened(time.Now(), Incident{})
}
