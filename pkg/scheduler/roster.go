package scheduler

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Where there are several schedulers, each swarm belongs to one of them. Peers
// find out which by themselves, out of who is up: nobody has to agree on
// anything, and one that comes or goes moves its own swarms and no others.

// Roster tells To which schedulers are up. A shell makes it out of what
// schedulers tell each other; no Scheduler does.
type Roster struct {
	To     PeerID
	Self   string   // the scheduler that says it
	Names  []string // those that are up, HOST:PORT where peers reach them
	Reason string
}

// Recipient implements Decision.
func (d Roster) Recipient() PeerID { return d.To }

// Why implements Decision.
func (d Roster) Why() string { return d.Reason }

// Acquaint names some peers to To, whatever they hold: where it begins to look
// for others should all schedulers go. A shell makes it; no Scheduler does.
type Acquaint struct {
	To     PeerID
	Peers  []Peer
	Reason string
}

// Recipient implements Decision.
func (d Acquaint) Recipient() PeerID { return d.To }

// Why implements Decision.
func (d Acquaint) Why() string { return d.Reason }

// Owner is the scheduler that a blob's swarm belongs to, of those that are up;
// "" if none is. It does not depend on their order. (Rendezvous hashing: each
// scheduler bids for each blob, and the highest bid wins. Thaler and
// Ravishankar, 1996.)
func Owner(names []string, d piece.Digest) string {
	best, most := "", uint64(0)
	for _, name := range names {
		h := sha256.New()
		h.Write(d[:])
		h.Write([]byte(name))
		var sum [sha256.Size]byte
		if bid := binary.BigEndian.Uint64(h.Sum(sum[:0])); best == "" || bid > most || bid == most && name < best {
			best, most = name, bid
		}
	}
	return best
}
