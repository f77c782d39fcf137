package transport

import (
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// gate turns away libp2p connections of peers that are not admitted, as soon
// as they have proven who they are. The bulk server asks the same function.
type gate struct {
	admit func(scheduler.PeerID) error
}

var _ connmgr.ConnectionGater = gate{}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (g gate) InterceptPeerDial(p libpeer.ID) bool { return g.admits(p) }

// InterceptAddrDial implements connmgr.ConnectionGater.
func (gate) InterceptAddrDial(libpeer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept implements connmgr.ConnectionGater.
func (gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements connmgr.ConnectionGater.
func (g gate) InterceptSecured(_ network.Direction, p libpeer.ID, _ network.ConnMultiaddrs) bool {
	return g.admits(p)
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

func (g gate) admits(p libpeer.ID) bool {
	return g.admit(scheduler.PeerID(p.String())) == nil
}
