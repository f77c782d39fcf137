package discovery

import (
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// The oldest idle connections go, beyond those that are kept; who is used or new
// stays.
func TestUnusedConnections(t *testing.T) {
	now := time.Now()
	conn := func(age time.Duration, streams int) network.ConnStats {
		return network.ConnStats{Stats: network.Stats{Opened: now.Add(-age)}, NumStreams: streams}
	}
	var conns []network.ConnStats
	for i := range idleMost {
		conns = append(conns, conn(time.Hour+time.Duration(i)*time.Second, 0), conn(2*time.Hour, 1), conn(idleFor/2, 0))
	}
	if got := unused(conns, now); len(got) > 0 {
		t.Errorf("closes %v of the %d that may stay", got, idleMost)
	}
	conns = append(conns, conn(3*time.Hour, 0), conn(4*time.Hour, 0))
	if got, want := unused(conns, now), []int{len(conns) - 1, len(conns) - 2}; !slices.Equal(got, want) {
		t.Errorf("closes %v, want the oldest, %v", got, want)
	}
}
