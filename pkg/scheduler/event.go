package scheduler

import (
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// PeerID names one running p2pd: its libp2p peer ID in text form.
type PeerID string

// Peer is what others need to know to reach a peer.
type Peer struct {
	ID PeerID
	// Addrs are libp2p multiaddrs for the HAVE stream.
	Addrs []string
	// Bulk is host:port of the listener for bulk pieces.
	Bulk string
	// Zone and Rack say where the peer is; empty means not known. A rack
	// lies in a zone: equal rack names in two zones are two racks.
	Zone, Rack string
	// Node is what the machine is called, for people. Other peers are not
	// told. Empty means not known.
	Node string
	// Platform is OS/ARCH of the machine, as in images. Other peers are not told.
	// Empty means not known.
	Platform string
	// Unpacks says that it can have a container runtime pull what is preheated.
	// Other peers are not told.
	Unpacks bool
}

// SizeUnknown stands for the size of a blob that nobody has told yet.
const SizeUnknown = -1

// Event is one thing that the scheduler learns. The concrete types below are
// all there are.
type Event interface{ event() }

// PeerUp says that a peer's stream has opened. A second PeerUp of the same
// peer replaces its addresses and keeps its swarms.
type PeerUp struct{ Peer Peer }

// PeerDown says that a peer's stream is gone: it leaves all swarms and its
// leases are free again.
type PeerDown struct{ Peer PeerID }

// Join says which blobs a peer wants or holds: an image at a time, or after
// a reconnect all that it has. Joining a swarm twice updates the member.
type Join struct {
	Peer  PeerID
	Blobs []Membership
}

// Membership is a peer's standing in one swarm as the peer tells it.
type Membership struct {
	Digest piece.Digest
	// Size is SizeUnknown until the peer has learned it.
	Size int64
	// Have are the pieces that the peer can serve. Its length is 0 while
	// the size is not known.
	Have piece.Bitfield
	// Origin is the registry host that the peer could read this blob from
	// under a lease. Empty: the peer only serves what it has.
	Origin string
	// Moved says that the swarm was with another scheduler until now: its other
	// members are on their way too. Leases are those that the peer has from
	// that one, and reads under.
	Moved  bool
	Leases []Lease
	// Patient says that nobody waits for the blob at the peer: it leaves some of
	// what the origin bears to those where somebody does.
	Patient bool
}

// Leave says that a peer neither wants nor holds a blob any more.
type Leave struct {
	Peer   PeerID
	Digest piece.Digest
}

// Summary is what a peer tells about its running downloads every SummaryEvery, or
// as often as a SummaryInterval says, and at once when it learns a size, stalls, or
// completes.
type Summary struct {
	Peer  PeerID
	Blobs []Progress
}

// Progress is one download in a Summary.
type Progress struct {
	Digest piece.Digest
	Size   int64
	Have   piece.Bitfield
	// Stalled says that the peer has received nothing for a while, has no
	// lease, and still misses pieces: it asks for help.
	Stalled bool
	// Leases are the bytes read so far under each lease that the peer
	// holds for this blob; growth renews the lease's deadline.
	Leases []LeaseBytes
	// Rates are bytes received from each neighbour since the last summary.
	Rates []NeighbourBytes
}

// LeaseBytes is the progress of one lease.
type LeaseBytes struct {
	ID    LeaseID
	Bytes int64
}

// NeighbourBytes is what one neighbour delivered since the last summary.
type NeighbourBytes struct {
	Peer  PeerID
	Bytes int64
}

// Blame reports a neighbour that does not deliver.
type Blame struct {
	Peer      PeerID // who reports
	Digest    piece.Digest
	Neighbour PeerID
	Fault     Fault
}

// Fault is what a neighbour is blamed for.
type Fault uint8

// The faults.
const (
	Slow        Fault = iota + 1 // missed piece deadlines
	Unreachable                  // could not be dialled, or its link broke
	False                        // sent bytes that are not what it claimed
)

// LeaseEnd says that a lease's holder is through with it.
type LeaseEnd struct {
	Peer    PeerID
	Digest  piece.Digest
	Lease   LeaseID
	Outcome Outcome
	// RetryAfter is how long the origin asked everybody to stay away;
	// only with OriginBusy.
	RetryAfter time.Duration
}

// Outcome is how a lease ended.
type Outcome uint8

// The outcomes.
const (
	Done       Outcome = iota + 1 // all pieces of the lease are held
	Failed                        // the origin failed or stalled for this peer
	NoRange                       // the origin does not serve ranges of this blob
	OriginBusy                    // 429 or 503: nobody should ask for RetryAfter
)

// Tick lets time pass: deadlines run out, waits end. The shell sends one
// every TickEvery.
type Tick struct{}

// TickEvery is how often the shell must send Tick.
const TickEvery = 25 * time.Millisecond

func (PeerUp) event()   {}
func (PeerDown) event() {}
func (Join) event()     {}
func (Leave) event()    {}
func (Summary) event()  {}
func (Blame) event()    {}
func (LeaseEnd) event() {}
func (Tick) event()     {}
