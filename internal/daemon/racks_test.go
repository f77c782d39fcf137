package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A node's rack is asked for once an hour; who does not answer is left alone for a
// while, and what was known stays.
func TestRacksAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, rack, fails := 0, "r1", error(nil)
		r := newRacks(func(context.Context, string) (string, error) { asked++; return rack, fails }, slog.New(slog.DiscardHandler))
		is := func(want string, questions int) {
			t.Helper()
			if got := r.of(t.Context(), "worker"); got != want || asked != questions {
				t.Errorf("in rack %q after %d questions, want %q after %d", got, asked, want, questions)
			}
		}
		is("r1", 1)
		rack = "r2"
		is("r1", 1)
		time.Sleep(rackLasts)
		fails = errors.New("forbidden")
		is("r1", 2)
		is("r1", 2)
		if got := r.of(t.Context(), "another"); got != "" || asked != 2 {
			t.Errorf("another is in rack %q after %d questions", got, asked)
		}
		time.Sleep(rackRest)
		fails = nil
		is("r2", 3)
	})
}

// However many come at once, few questions are out at a time, and nobody waits for long
// at the door.
func TestRacksAreAskedForAFewAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		r := newRacks(func(ctx context.Context, _ string) (string, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return "r", nil
		}, slog.New(slog.DiscardHandler))
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() { r.of(t.Context(), fmt.Sprint(i)) })
		}
		wg.Wait()
		if took := time.Since(began); most != racksAtOnce || took > rackWait+time.Second {
			t.Errorf("%d questions at a time, all were through after %v of virtual time", most, took)
		}
	})
}
