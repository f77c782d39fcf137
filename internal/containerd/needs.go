package containerd

import (
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Swarm is told which blobs come and go. *peer.Peer is the real one. Neither
// method may block for long.
type Swarm interface {
	// Offer says that a blob can be opened in the peer's store. It is false
	// if that cannot be told now and has to be said again later.
	Offer(d piece.Digest, size int64) bool
	// Withdraw says that it may not be there any more.
	Withdraw(d piece.Digest)
}

// Copies are blobs of our own, on our own disk. *store.Store is the real one.
type Copies interface {
	peer.Store
	// Demote makes a blob the first to be evicted: somebody else keeps it,
	// too. One that is not here is no error.
	Demote(d piece.Digest)
	// Reinstate undoes Demote.
	Reinstate(d piece.Digest)
}
