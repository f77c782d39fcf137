package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/api"
)

// deadlined is a connection that remembers until when it may write, and whether
// it was told before each write.
type deadlined struct {
	*httptest.ResponseRecorder
	until  time.Time
	late   int // writes without a deadline of their own
	writes int
	wrote  func()
}

func (d *deadlined) SetWriteDeadline(t time.Time) error { d.until = t; return nil }

func (d *deadlined) Write(p []byte) (int, error) {
	if d.writes++; !d.until.After(time.Now()) {
		d.late++
	}
	d.until = time.Time{}
	defer d.wrote()
	return d.ResponseRecorder.Write(p)
}

// A watcher that takes nothing does not keep its place for ever: each snapshot
// has to be taken within a time.
func TestAWatcherHasUntilADeadline(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w := &deadlined{ResponseRecorder: httptest.NewRecorder()}
	w.wrote = func() {
		if w.writes == 2 {
			cancel()
		}
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, api.Prefix+"/events", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+password)
	newStage().ServeHTTP(w, r)
	if w.writes != 2 || w.late != 0 {
		t.Errorf("of %d snapshots %d had no deadline", w.writes, w.late)
	}
}
