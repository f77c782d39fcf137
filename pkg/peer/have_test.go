package peer_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
)

// In a swarm half of the neighbours have each piece already when it comes. They
// are told of it together with what they do not have, and in the end of all.
func TestWhoHasAPieceIsToldLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const nodes, pieces = 12, 48
		var messages, told atomic.Int64
		c := lab(t, nodes, func(cfg *peertest.Config) {
			cfg.Sent = func(m peer.Message) {
				if have, ok := m.(peer.Have); ok {
					messages.Add(1)
					told.Add(int64(len(have.Pieces)))
				}
			}
		})
		blob := content(9, pieces*mib)
		pullAll(t, c.Nodes, c.Origin.Add(blob), int64(len(blob)))
		per := float64(messages.Load()) / float64(told.Load())
		t.Logf("%d messages tell %d times of a piece", messages.Load(), told.Load())
		atMost(t, "messages for each piece told of", per, 0.75)
		if all := int64(nodes * (nodes - 1) * pieces); told.Load() < all*9/10 {
			t.Errorf("neighbours were told %d times of a piece, all would be %d", told.Load(), all)
		}
	})
}
