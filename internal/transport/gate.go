package transport

import (
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// gate turns away libp2p connections of peers that have been banned. Who is no
// member does not come so far: the handshake fails.
type gate struct{ members Members }

var _ connmgr.ConnectionGater = gate{}

// InterceptPeerDial implements connmgr.ConnectionGater.
func (g gate) InterceptPeerDial(p libpeer.ID) bool { return g.members.Banned(p.String()) == nil }

// InterceptAddrDial implements connmgr.ConnectionGater.
func (gate) InterceptAddrDial(libpeer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept implements connmgr.ConnectionGater.
func (gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured implements connmgr.ConnectionGater.
func (g gate) InterceptSecured(_ network.Direction, p libpeer.ID, _ network.ConnMultiaddrs) bool {
	return g.members.Admit(p.String()) == nil
}

// InterceptUpgraded implements connmgr.ConnectionGater.
func (gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
