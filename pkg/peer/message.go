package peer

import (
	"context"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Message is what neighbours tell each other on their HAVE stream. The
// concrete types below are all there are; internal/transport has their wire
// form.
type Message interface{ message() }

// Offer opens an edge in one swarm: what the sender has of a blob. The
// receiver answers with an Offer of its own if it holds or downloads the
// blob, with Bye otherwise. An Offer with Reply set is such an answer and is
// not answered again.
type Offer struct {
	// From says how to reach the sender, for receivers that the scheduler
	// has not introduced. The transport puts the sender's proven ID in.
	From   scheduler.Peer
	Digest piece.Digest
	// Size is scheduler.SizeUnknown while the sender does not know it;
	// Have and Claims are empty then.
	Size int64
	Have piece.Bitfield
	// Claims are the digests of the pieces in Have, in order, one for
	// each piece that is set.
	Claims []piece.Digest
	Reply  bool
	// Ticket lets the sender have what others have, in a strict cluster; see
	// Tickets. Nil: it shows none.
	Ticket []byte
}

// Have says that the sender has verified more pieces.
type Have struct {
	Digest piece.Digest
	Pieces []Claim
}

// Claim is what the sender says a piece's digest is.
type Claim struct {
	Index  int
	Digest piece.Digest
}

// Bye ends the edge: the sender does not hold the blob, or not any more.
type Bye struct{ Digest piece.Digest }

func (Offer) message() {}
func (Have) message()  {}
func (Bye) message()   {}

// Handler is what the transport hands incoming traffic to. *Peer is one.
// Methods may be called concurrently and do not block for long.
type Handler interface {
	// Receive takes a message; from is the sender's proven identity.
	Receive(from scheduler.PeerID, m Message)
	// Lost says that the link to or from a peer broke or could not be
	// made: what it offered is void until it offers again.
	Lost(peer scheduler.PeerID, err error)
	// Upload opens bytes [off, off+n) of a blob for a child, once an
	// upload slot is free; n > 0. The caller copies from the upload's
	// Reader and closes it. It fails with ErrNotHeld or ErrBusy.
	// It is the one method that may block, within ctx and a bound.
	Upload(ctx context.Context, child scheduler.PeerID, d piece.Digest, off, n int64) (*Upload, error)
}
