package scheduler

import (
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Decision is one thing that the scheduler tells one peer. The concrete
// types below are all there are. Every decision carries its reason.
type Decision interface {
	// Recipient is the peer that is told.
	Recipient() PeerID
	// Why is the reason, for people.
	Why() string
}

// Introduce makes peers neighbours of To in one swarm. Edges run both ways:
// each peer introduced that is downloading learns of To by a decision of its
// own; a seed learns of To when To speaks to it.
type Introduce struct {
	To     PeerID
	Digest piece.Digest
	// Size is the blob's size as the swarm knows it, or SizeUnknown.
	Size int64
	// Peers may be shared by decisions of the same Step: only to be read.
	Peers []Peer
	// Share is To's part as one of its zone's gateways.
	Share Share
	// Proven says that Peers, which may be To's neighbours already, have the whole
	// blob as its digest says; see Dispute.
	Proven bool
	Reason string
}

// Part ends the edges between To and peers in one swarm.
type Part struct {
	To     PeerID
	Digest piece.Digest
	Peers  []PeerID
	Reason string
}

// LeaseID names a lease; unique for the life of a scheduler.
type LeaseID uint64

// Lease is the right to read some pieces of a blob from the origin.
type Lease struct {
	ID LeaseID
	// Pieces are the pieces to read, in one request. Ignored with Whole.
	Pieces piece.Range
	// Whole asks to read the blob from its first byte to its last in one
	// request: its size is not known yet, or the origin serves no ranges.
	// A holder that finds out the size sends a Summary with it at once.
	Whole bool
}

// Grant gives To a lease. It lasts while Summary shows progress, until
// LeaseEnd, Revoke or the end of the peer's stream.
type Grant struct {
	To     PeerID
	Digest piece.Digest
	Lease  Lease
	Reason string
}

// Revoke takes a lease back. The holder stops reading; what it has it keeps.
type Revoke struct {
	To     PeerID
	Digest piece.Digest
	Lease  LeaseID
	Reason string
}

// Wait asks To, which receives nothing, to leave the origin alone for a while:
// what it misses is being read, or others have it. Were a whole swarm to help
// itself, an origin that is only slow would be buried.
type Wait struct {
	To     PeerID
	Digest piece.Digest
	For    time.Duration
	Reason string
}

// Recipient implements Decision.
func (d Introduce) Recipient() PeerID { return d.To }

// Recipient implements Decision.
func (d Part) Recipient() PeerID { return d.To }

// Recipient implements Decision.
func (d Grant) Recipient() PeerID { return d.To }

// Recipient implements Decision.
func (d Revoke) Recipient() PeerID { return d.To }

// Recipient implements Decision.
func (d Wait) Recipient() PeerID { return d.To }

// Why implements Decision.
func (d Introduce) Why() string { return d.Reason }

// Why implements Decision.
func (d Part) Why() string { return d.Reason }

// Why implements Decision.
func (d Grant) Why() string { return d.Reason }

// Why implements Decision.
func (d Revoke) Why() string { return d.Reason }

// Why implements Decision.
func (d Wait) Why() string { return d.Reason }
