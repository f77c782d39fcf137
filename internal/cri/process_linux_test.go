package cri_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/cri"
	"github.com/p2pd/p2pd/internal/cri/critest"
)

// The process that listens is this one: it was started before now, and not long ago as
// tests go.
func TestStarted(t *testing.T) {
	t.Parallel()
	at, known, err := cri.Started((&critest.Runtime{}).Serve(t))
	if now := time.Now(); err != nil || !known || at.After(now) || at.Before(now.Add(-24*time.Hour)) {
		t.Errorf("started at %v, known: %v, %v", at, known, err)
	}
	if _, _, err := cri.Started(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("nobody was started")
	}
}
