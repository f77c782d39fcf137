package peer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// summaries is a scheduler that decides nothing and notes when it is told of
// running downloads, but for calls for help.
type summaries struct{ at []time.Time }

func (s *summaries) Send(e scheduler.Event) {
	if e, ok := e.(scheduler.Summary); ok && !e.Blobs[0].Stalled {
		s.at = append(s.at, time.Now())
	}
}

// Whenever a download begins on an idle peer, the scheduler hears how it fares
// within a second, but not so early that nothing can be seen, and each second
// from then on: how soon it may help a node whose peers trickle is not luck.
func TestTheFirstSummaryIsDueAWhileAfterTheBeginning(t *testing.T) {
	for _, idle := range []time.Duration{0, 250 * time.Millisecond, 10*time.Second + 900*time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			p := peer.New(peer.Config{Self: scheduler.Peer{ID: "me"}, Store: storetest.NewMemory(0)})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			s := &summaries{}
			p.Attached(s)
			time.Sleep(idle)

			begun := time.Now()
			c, err := p.Open(ctx, peer.Ref{Digest: piece.Sum([]byte("wanted")), Size: 8 << 20})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if len(s.at) < 3 {
				t.Fatalf("%d summaries in 5 s, want one a second", len(s.at))
			}
			if first := s.at[0].Sub(begun); first < 700*time.Millisecond || first > time.Second {
				t.Errorf("idle for %v: the first summary came after %v, want 0.7 to 1 s", idle, first)
			}
		})
	}
}
