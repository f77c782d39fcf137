package discovery

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// idleMost is how many connections without a stream are kept, for the next
	// search; a search of a large table leaves some twenty behind, and nobody
	// else would ever close them.
	idleMost = 128
	// idleFor spares those that are about to be used.
	idleFor = 30 * time.Second
)

// trim closes the oldest connections that nobody uses: links to neighbours have
// a stream for as long as they last.
func (d *Discovery) trim() {
	conns := d.cfg.Host.Network().Conns()
	stats := make([]network.ConnStats, len(conns))
	for i, c := range conns {
		stats[i] = c.Stat()
	}
	for _, i := range unused(stats, time.Now()) {
		_ = conns[i].Close()
	}
}

// unused names the connections to close.
func unused(conns []network.ConnStats, now time.Time) []int {
	var idle []int
	for i, c := range conns {
		if c.NumStreams == 0 && now.Sub(c.Opened) > idleFor {
			idle = append(idle, i)
		}
	}
	slices.SortStableFunc(idle, func(a, b int) int { return conns[a].Opened.Compare(conns[b].Opened) })
	return idle[:max(0, len(idle)-idleMost)]
}
