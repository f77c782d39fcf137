package peer

import (
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// In a strict cluster a peer tells and gives of a blob only to those who have shown a ticket
// for it. All others learn no more than where a blob is not here: that somebody does not
// hold it. A peer that nobody gives a ticket reads from the origin.

// may reports whether a peer may know and have what is here of a blob.
func (p *Peer) may(who scheduler.PeerID, dg piece.Digest) bool {
	return p.cfg.Tickets == nil || p.cfg.Tickets.May(string(who), dg)
}

// barred reports whether others give this peer nothing of a blob.
func (p *Peer) barred(dg piece.Digest) bool {
	return p.cfg.Tickets != nil && p.cfg.Tickets.Own(dg) == nil
}

// warnIfBarred says once what is wrong where a scheduler introduces this peer, but gives it no
// ticket.
func (p *Peer) warnIfBarred(dg piece.Digest) {
	if p.barred(dg) {
		p.ticketless.Do(func() {
			p.log.Warn("the scheduler gives no tickets, and without nobody gives this peer anything: set membership.strict at the schedulers too, or nowhere")
		})
	}
}

// ownTicket is what this peer shows for a blob.
func (p *Peer) ownTicket(dg piece.Digest) []byte {
	if p.cfg.Tickets == nil {
		return nil
	}
	return p.cfg.Tickets.Own(dg)
}

// shown takes the ticket of an offer.
func (p *Peer) shown(from scheduler.PeerID, o Offer) {
	if p.cfg.Tickets == nil || len(o.Ticket) == 0 {
		return
	}
	if err := p.cfg.Tickets.Show(string(from), o.Digest, o.Ticket); err != nil {
		p.log.Debug("ticket is no good", "peer", from, "blob", o.Digest.Short(), "err", err)
	}
}

// ticketed takes a ticket from the scheduler, and shows it to neighbours that have seen an
// earlier one, or none.
func (p *Peer) ticketed(t scheduler.Ticket) {
	if p.cfg.Tickets == nil {
		return
	}
	if err := p.cfg.Tickets.Accept(t.Digest, t.Signed); err != nil {
		p.log.Warn("the scheduler's ticket is not used", "blob", t.Digest.Short(), "err", err)
		return
	}
	if d := p.running(t.Digest); d != nil {
		d.post(func() {
			for _, n := range d.neighbours {
				if !n.offered.IsZero() {
					d.offer(n, true)
				}
			}
		})
	}
}

// answerTo says whether an offer is to be answered: it is none itself, and no offer went the
// other way just before; or what was told then was nothing, for want of a ticket that has been shown
// since.
func (d *download) answerTo(n *neighbour, o Offer) bool {
	if n.withheld && d.p.may(n.peer.ID, d.ref.Digest) {
		return true
	}
	return !o.Reply && time.Since(n.offered) > replyGap
}
