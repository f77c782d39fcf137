package rpc

import (
	"slices"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// encodeEvent is the wire form of an event. PeerUp becomes the Hello; events
// that the stream itself carries (PeerDown, Tick) have none and give nil.
func encodeEvent(e scheduler.Event) *p2pdv1.AttachRequest {
	switch e := e.(type) {
	case scheduler.PeerUp:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Hello{Hello: &p2pdv1.Hello{
			Version: protocolVersion, Peer: encodePeer(e.Peer), Platform: e.Peer.Platform, Unpacks: e.Peer.Unpacks,
		}}}
	case scheduler.Join:
		j := &p2pdv1.Join{}
		for _, b := range e.Blobs {
			j.Blobs = append(j.Blobs, encodeMembership(b))
		}
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Join{Join: j}}
	case scheduler.Leave:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Leave{Leave: &p2pdv1.Leave{Digest: e.Digest[:]}}}
	case scheduler.Summary:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Summary{Summary: encodeSummary(e)}}
	case scheduler.Blame:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Blame{Blame: &p2pdv1.Blame{
			Digest: e.Digest[:], Neighbour: string(e.Neighbour), Fault: p2pdv1.Fault(e.Fault),
		}}}
	case scheduler.LeaseEnd:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_LeaseEnd{LeaseEnd: &p2pdv1.LeaseEnd{
			Digest: e.Digest[:], Lease: uint64(e.Lease), Outcome: p2pdv1.Outcome(e.Outcome),
			RetryAfterMs: min(max(e.RetryAfter, 0), maxRetryAfter).Milliseconds(),
		}}}
	case scheduler.Dispute:
		m := &p2pdv1.Dispute{Digest: e.Digest[:], Settled: e.Settled, Misread: e.Misread}
		for _, i := range e.Pieces[:min(len(e.Pieces), maxDisputed)] {
			m.Pieces = append(m.Pieces, encodePiece(i))
		}
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Dispute{Dispute: m}}
	case scheduler.PreheatReport:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_PreheatReport{PreheatReport: encodePreheatReport(e)}}
	}
	return nil
}

func encodeMembership(b scheduler.Membership) *p2pdv1.Membership {
	m := &p2pdv1.Membership{Digest: b.Digest[:], Size: encodeSize(b.Size), Origin: b.Origin}
	if m.Full = b.Size != scheduler.SizeUnknown && b.Have.Len() > 0 && b.Have.Full(); !m.Full {
		m.Have = encodeHave(b.Size, &b.Have)
	}
	m.Moved, m.Patient = b.Moved, b.Patient
	for _, l := range b.Leases[:min(len(b.Leases), maxLeases)] {
		m.Leases = append(m.Leases, &p2pdv1.Held{
			Id: uint64(l.ID), First: encodePiece(l.Pieces.First), End: encodePiece(l.Pieces.End), Whole: l.Whole,
		})
	}
	return m
}

// encodeProgress is all of it but the rates.
func encodeProgress(b scheduler.Progress) *p2pdv1.Progress {
	p := &p2pdv1.Progress{Digest: b.Digest[:], Size: encodeSize(b.Size), Have: encodeHave(b.Size, &b.Have), Stalled: b.Stalled}
	for _, l := range b.Leases[:min(len(b.Leases), maxLeases)] {
		p.Leases = append(p.Leases, &p2pdv1.LeaseBytes{Id: uint64(l.ID), Bytes: l.Bytes})
	}
	return p
}

// split cuts an event with more blobs than one message should hold into
// several that say the same.
func split(e scheduler.Event) []scheduler.Event {
	var parts []scheduler.Event
	fits := func(blobs int) bool { return 0 < blobs && blobs <= blobsSent }
	switch e := e.(type) {
	case scheduler.Join:
		if fits(len(e.Blobs)) {
			break
		}
		for some := range slices.Chunk(e.Blobs, blobsSent) {
			parts = append(parts, scheduler.Join{Peer: e.Peer, Blobs: some})
		}
		return parts
	case scheduler.Summary:
		if fits(len(e.Blobs)) {
			break
		}
		for some := range slices.Chunk(e.Blobs, blobsSent) {
			parts = append(parts, scheduler.Summary{Peer: e.Peer, Blobs: some})
		}
		return parts
	}
	return append(parts, e)
}
