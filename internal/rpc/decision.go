package rpc

import (
	"fmt"
	"time"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// encodeDecision is the wire form of a decision, nil for a kind that this wire
// does not know. place gives peers' indices in the message's table.
func encodeDecision(d scheduler.Decision, place func([]scheduler.Peer) []uint32) *p2pdv1.Decision {
	switch d := d.(type) {
	case scheduler.Introduce:
		in := &p2pdv1.Introduce{Digest: d.Digest[:], Size: encodeSize(d.Size), Proven: d.Proven, Reason: encodeReason(d.Reason)}
		in.ShareIndex, in.ShareOf = encodePiece(d.Share.Index), encodePiece(d.Share.Of)
		in.Peers = place(d.Peers[:min(len(d.Peers), maxPeers)])
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Introduce{Introduce: in}}
	case scheduler.Part:
		p := &p2pdv1.Part{Digest: d.Digest[:], Reason: encodeReason(d.Reason)}
		for _, id := range d.Peers[:min(len(d.Peers), maxPeers)] {
			p.Peers = append(p.Peers, string(id))
		}
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Part{Part: p}}
	case scheduler.Grant:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Grant{Grant: &p2pdv1.Grant{
			Digest: d.Digest[:], Lease: uint64(d.Lease.ID), Whole: d.Lease.Whole, Reason: encodeReason(d.Reason),
			First: encodePiece(d.Lease.Pieces.First), End: encodePiece(d.Lease.Pieces.End),
		}}}
	case scheduler.Revoke:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Revoke{Revoke: &p2pdv1.Revoke{
			Digest: d.Digest[:], Lease: uint64(d.Lease), Reason: encodeReason(d.Reason),
		}}}
	case scheduler.Wait:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Wait{Wait: &p2pdv1.Wait{
			Digest: d.Digest[:], ForMs: min(d.For, maxWait).Milliseconds(), Reason: encodeReason(d.Reason),
		}}}
	case scheduler.SummaryInterval:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_SummaryInterval{SummaryInterval: &p2pdv1.SummaryInterval{
			EveryMs: d.Every.Milliseconds(), Reason: encodeReason(d.Reason),
		}}}
	case scheduler.Ticket:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Ticket{Ticket: &p2pdv1.Ticket{
			Digest: d.Digest[:], Ticket: d.Signed, Reason: encodeReason(d.Reason),
		}}}
	case scheduler.Acquaint:
		a := &p2pdv1.Acquaint{Reason: encodeReason(d.Reason)}
		a.Peers = place(d.Peers[:min(len(d.Peers), maxPeers)])
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Acquaint{Acquaint: a}}
	case scheduler.Shun:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Shun{Shun: &p2pdv1.Shun{
			Peer: string(d.Peer), ForMs: min(d.For, scheduler.BanMost).Milliseconds(), Reason: encodeReason(d.Reason),
			AtNs: encodeMoment(d.At),
		}}}
	case scheduler.Roster:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Roster{Roster: &p2pdv1.Roster{
			Self: d.Self, Schedulers: d.Names[:min(len(d.Names), maxSchedulers)], Reason: encodeReason(d.Reason),
		}}}
	case scheduler.Preheat:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_Preheat{Preheat: encodePreheat(d)}}
	case scheduler.PreheatEnd:
		return &p2pdv1.Decision{Decision: &p2pdv1.Decision_PreheatEnd{PreheatEnd: &p2pdv1.PreheatEnd{Job: int64(d.Job), Reason: encodeReason(d.Reason)}}}
	}
	return nil
}

// decodeDecision turns a message into a decision for the peer to; table is the
// peers that it may introduce. An unknown decision gives nil.
func decodeDecision(to scheduler.PeerID, m *p2pdv1.Decision, table []scheduler.Peer) (scheduler.Decision, error) {
	switch d := m.GetDecision().(type) {
	case *p2pdv1.Decision_Introduce:
		i, err := decodeIntroduce(d.Introduce, table)
		i.To = to
		return orError[scheduler.Decision](i, malformed("introduce", err))
	case *p2pdv1.Decision_Part:
		p, err := decodePart(d.Part)
		p.To = to
		return orError[scheduler.Decision](p, malformed("part", err))
	case *p2pdv1.Decision_Grant:
		g, err := decodeGrant(d.Grant)
		g.To = to
		return orError[scheduler.Decision](g, malformed("grant", err))
	case *p2pdv1.Decision_Revoke:
		r, err := decodeRevoke(d.Revoke)
		r.To = to
		return orError[scheduler.Decision](r, malformed("revoke", err))
	case *p2pdv1.Decision_Wait:
		w, err := decodeWait(d.Wait)
		w.To = to
		return orError[scheduler.Decision](w, malformed("wait", err))
	case *p2pdv1.Decision_SummaryInterval:
		i, err := decodeSummaryInterval(d.SummaryInterval)
		i.To = to
		return orError[scheduler.Decision](i, malformed("summary_interval", err))
	case *p2pdv1.Decision_Ticket:
		t, err := decodeTicket(d.Ticket)
		t.To = to
		return orError[scheduler.Decision](t, malformed("ticket", err))
	case *p2pdv1.Decision_Acquaint:
		a := scheduler.Acquaint{To: to}
		err := fromTable(&a.Peers, d.Acquaint.GetPeers(), table)
		if err == nil {
			a.Reason, err = decodeReason(d.Acquaint.GetReason())
		}
		return orError[scheduler.Decision](a, malformed("acquaint", err))
	case *p2pdv1.Decision_Shun:
		s, err := decodeShun(d.Shun)
		s.To = to
		return orError[scheduler.Decision](s, malformed("shun", err))
	case *p2pdv1.Decision_Roster:
		r, err := decodeRoster(d.Roster)
		r.To = to
		return orError[scheduler.Decision](r, malformed("roster", err))
	case *p2pdv1.Decision_Preheat:
		p, err := decodePreheat(d.Preheat)
		p.To = to
		return orError[scheduler.Decision](p, malformed("preheat", err))
	case *p2pdv1.Decision_PreheatEnd:
		p, err := decodePreheatEnd(d.PreheatEnd)
		p.To = to
		return orError[scheduler.Decision](p, malformed("preheat_end", err))
	}
	return nil, nil
}

func decodeSummaryInterval(m *p2pdv1.SummaryInterval) (d scheduler.SummaryInterval, err error) {
	ms := m.GetEveryMs()
	if ms <= 0 {
		return d, bad("every_ms", "%d is no time", ms)
	}
	// A later scheduler may want more than is known here: as near to it as can be will do.
	ms = min(max(ms, scheduler.SummaryEvery.Milliseconds()), scheduler.MaxSummaryEvery.Milliseconds())
	d.Every = time.Duration(ms) * time.Millisecond
	d.Reason, err = decodeReason(m.GetReason())
	return d, err
}

func decodeTicket(m *p2pdv1.Ticket) (d scheduler.Ticket, err error) {
	if d.Digest, err = decodeDigest("digest", m.GetDigest()); err != nil {
		return d, err
	}
	if d.Signed = m.GetTicket(); len(d.Signed) == 0 || len(d.Signed) > member.MaxTicket {
		return d, bad("ticket", "%d bytes, 1 to %d are allowed", len(d.Signed), member.MaxTicket)
	}
	d.Reason, err = decodeReason(m.GetReason())
	return d, err
}

func decodeShun(m *p2pdv1.Shun) (d scheduler.Shun, err error) {
	if d.Peer, err = decodeID("peer", m.GetPeer()); err != nil {
		return d, err
	}
	ms := m.GetForMs()
	if ms < 0 || ms > scheduler.BanMost.Milliseconds() {
		return d, bad("for_ms", "%d, at most %d are allowed", ms, scheduler.BanMost.Milliseconds())
	}
	d.For = time.Duration(ms) * time.Millisecond
	if ns := m.GetAtNs(); ns < 0 {
		return d, bad("at_ns", "%d is before 1970", ns)
	} else if ns > 0 {
		d.At = time.Unix(0, ns).UTC()
	}
	d.Reason, err = decodeReason(m.GetReason())
	return d, err
}

// encodeMoment is a time in nanoseconds since 1970; 0 for none.
func encodeMoment(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func decodeRoster(m *p2pdv1.Roster) (d scheduler.Roster, err error) {
	if d.Self, err = decodeText("self", m.GetSelf()); err != nil {
		return d, err
	}
	if err := atMost("schedulers", len(m.GetSchedulers()), maxSchedulers); err != nil {
		return d, err
	}
	for i, name := range m.GetSchedulers() {
		field := fmt.Sprintf("schedulers[%d]", i)
		id, err := decodeID(field, name)
		if err != nil {
			return d, err
		}
		d.Names = append(d.Names, string(id))
	}
	d.Reason, err = decodeReason(m.GetReason())
	return d, err
}

// decodeHead takes what all decisions have.
func decodeHead(digest []byte, reason string) (d piece.Digest, why string, err error) {
	if d, err = decodeDigest("digest", digest); err != nil {
		return d, "", err
	}
	why, err = decodeReason(reason)
	return d, why, err
}

func decodeIntroduce(m *p2pdv1.Introduce, table []scheduler.Peer) (d scheduler.Introduce, err error) {
	if d.Digest, d.Reason, err = decodeHead(m.GetDigest(), m.GetReason()); err != nil {
		return d, err
	}
	if d.Size, err = decodeSize(m.Size); err != nil {
		return d, err
	}
	if d.Share, err = decodeShare(m.GetShareIndex(), m.GetShareOf()); err != nil {
		return d, err
	}
	d.Proven = m.GetProven()
	return d, fromTable(&d.Peers, m.GetPeers(), table)
}

// fromTable looks peers up.
func fromTable(peers *[]scheduler.Peer, numbers []uint32, table []scheduler.Peer) error {
	if err := atMost("peers", len(numbers), maxPeers); err != nil {
		return err
	}
	for i, at := range numbers {
		if int(at) >= len(table) {
			return bad(fmt.Sprintf("peers[%d]", i), "number %d of a table of %d", at, len(table))
		}
		*peers = append(*peers, table[at])
	}
	return nil
}

func decodePart(m *p2pdv1.Part) (d scheduler.Part, err error) {
	if d.Digest, d.Reason, err = decodeHead(m.GetDigest(), m.GetReason()); err != nil {
		return d, err
	}
	if err := atMost("peers", len(m.GetPeers()), maxPeers); err != nil {
		return d, err
	}
	for i, p := range m.GetPeers() {
		id, err := decodeID(fmt.Sprintf("peers[%d]", i), p)
		if err != nil {
			return d, err
		}
		d.Peers = append(d.Peers, id)
	}
	return d, nil
}

func decodeGrant(m *p2pdv1.Grant) (d scheduler.Grant, err error) {
	if d.Digest, d.Reason, err = decodeHead(m.GetDigest(), m.GetReason()); err != nil {
		return d, err
	}
	d.Lease = scheduler.Lease{ID: scheduler.LeaseID(m.GetLease()), Whole: m.GetWhole()}
	d.Lease.Pieces, err = decodePieces(m.GetFirst(), m.GetEnd(), m.GetWhole())
	return d, err
}

func decodeRevoke(m *p2pdv1.Revoke) (d scheduler.Revoke, err error) {
	if d.Digest, d.Reason, err = decodeHead(m.GetDigest(), m.GetReason()); err != nil {
		return d, err
	}
	d.Lease = scheduler.LeaseID(m.GetLease())
	return d, nil
}

func decodeWait(m *p2pdv1.Wait) (d scheduler.Wait, err error) {
	if d.Digest, d.Reason, err = decodeHead(m.GetDigest(), m.GetReason()); err != nil {
		return d, err
	}
	ms := m.GetForMs()
	if ms < 0 || ms > maxWait.Milliseconds() {
		return d, bad("for_ms", "%d, at most %d are allowed", ms, maxWait.Milliseconds())
	}
	d.For = time.Duration(ms) * time.Millisecond
	return d, nil
}
