package discovery

import (
	"cmp"
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
	var idle []network.Conn
	for _, c := range d.cfg.Host.Network().Conns() {
		if c.Stat().NumStreams == 0 && time.Since(c.Stat().Opened) > idleFor {
			idle = append(idle, c)
		}
	}
	if len(idle) <= idleMost {
		return
	}
	slices.SortFunc(idle, func(a, b network.Conn) int {
		return cmp.Compare(a.Stat().Opened.UnixNano(), b.Stat().Opened.UnixNano())
	})
	for _, c := range idle[:len(idle)-idleMost] {
		_ = c.Close()
	}
}
