package peer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
)

// Where requests take long a download has more of them under way than
// choice.MaxFetches, and nowhere else.
func TestADownloadAsksEarly(t *testing.T) {
	for name, c := range map[string]struct {
		latency time.Duration
		early   bool
	}{
		"a short way": {latency: 500 * time.Microsecond},
		"a long way":  {latency: 100 * time.Millisecond, early: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 32 * mib
				cluster := lab(t, 9, func(cfg *peertest.Config) { cfg.Latency = c.latency })
				d := cluster.Origin.Add(content(1, size))
				last := cluster.Nodes[len(cluster.Nodes)-1]
				pullAll(t, cluster.Nodes[:len(cluster.Nodes)-1], d, size)
				done := make(chan struct{})
				go func() {
					defer close(done)
					pull(t, []*peertest.Node{last}, d, size)
				}()
				most := int64(0)
				for running := true; running; {
					select {
					case <-done:
						running = false
					case <-time.After(5 * time.Millisecond):
						most = max(most, peer.Fetching(last.Peer))
					}
				}
				if early := most > choice.MaxFetches; early != c.early || most < choice.MaxFetches {
					t.Errorf("%d pieces were under way; more than %d: %v, want %v", most, choice.MaxFetches, early, c.early)
				}
			})
		})
	}
}
