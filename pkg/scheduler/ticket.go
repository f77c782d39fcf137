package scheduler

import (
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// TicketRenew is how long after a ticket a member that still downloads is given the next one.
// It is half of what tickets last.
const TicketRenew = 30 * time.Minute

// Ticket lets To have from others what they have of a blob. Its proof is a signature by the
// cluster's key; the Scheduler has none and leaves it to its shell.
type Ticket struct {
	To     PeerID
	Digest piece.Digest
	Signed []byte
	Reason string
}

// Recipient implements Decision.
func (d Ticket) Recipient() PeerID { return d.To }

// Why implements Decision.
func (d Ticket) Why() string { return d.Reason }

// ticket gives one to a member of a strict cluster that misses something. Who has all needs
// none to give it to others. A member joins by its own word: what a ticket proves is that the
// scheduler knows of it, and has not banned it (docs/adr/0014).
func (s *Scheduler) ticket(m *member) {
	if !s.cfg.Tickets || m.complete {
		return
	}
	m.ticketed = s.now
	s.decide(Ticket{To: m.node.peer.ID, Digest: m.swarm.digest, Reason: "it is in the swarm"})
}
