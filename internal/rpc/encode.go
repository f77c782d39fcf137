package rpc

import (
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// encodeEvent is the wire form of an event. PeerUp becomes the Hello; events
// that the stream itself carries (PeerDown, Tick) have none and give nil.
func encodeEvent(e scheduler.Event) *p2pdv1.AttachRequest {
	switch e := e.(type) {
	case scheduler.PeerUp:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Hello{Hello: &p2pdv1.Hello{Peer: encodePeer(e.Peer)}}}
	case scheduler.Join:
		j := &p2pdv1.Join{}
		for _, b := range e.Blobs {
			m := &p2pdv1.Membership{Digest: b.Digest[:], Size: encodeSize(b.Size), Origin: b.Origin}
			m.Have, m.Full = encodeHave(&b.Have)
			j.Blobs = append(j.Blobs, m)
		}
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Join{Join: j}}
	case scheduler.Leave:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Leave{Leave: &p2pdv1.Leave{Digest: e.Digest[:]}}}
	case scheduler.Summary:
		s := &p2pdv1.Summary{}
		for _, b := range e.Blobs {
			s.Blobs = append(s.Blobs, encodeProgress(b))
		}
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Summary{Summary: s}}
	case scheduler.Blame:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Blame{Blame: &p2pdv1.Blame{
			Digest: e.Digest[:], Neighbour: string(e.Neighbour), Fault: p2pdv1.Fault(e.Fault),
		}}}
	case scheduler.LeaseEnd:
		return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_LeaseEnd{LeaseEnd: &p2pdv1.LeaseEnd{
			Digest: e.Digest[:], Lease: uint64(e.Lease), Outcome: p2pdv1.Outcome(e.Outcome),
			RetryAfterMs: min(e.RetryAfter, maxRetryAfter).Milliseconds(),
		}}}
	}
	return nil
}

func encodeProgress(b scheduler.Progress) *p2pdv1.Progress {
	p := &p2pdv1.Progress{Digest: b.Digest[:], Size: encodeSize(b.Size), Stalled: b.Stalled}
	if b.Have.Count() > 0 {
		p.Have = b.Have.Append(nil)
	}
	for _, l := range b.Leases[:min(len(b.Leases), maxLeases)] {
		p.Leases = append(p.Leases, &p2pdv1.LeaseBytes{Id: uint64(l.ID), Bytes: l.Bytes})
	}
	for _, r := range b.Rates[:min(len(b.Rates), maxPeers)] {
		p.Rates = append(p.Rates, &p2pdv1.NeighbourBytes{Peer: string(r.Peer), Bytes: r.Bytes})
	}
	return p
}

// encodeDecision is the wire form of a decision.
func encodeDecision(d scheduler.Decision) *p2pdv1.AttachResponse {
	switch d := d.(type) {
	case scheduler.Introduce:
		in := &p2pdv1.Introduce{Digest: d.Digest[:], Size: encodeSize(d.Size), Reason: d.Reason}
		for _, p := range d.Peers[:min(len(d.Peers), maxPeers)] {
			in.Peers = append(in.Peers, encodePeer(p))
		}
		return &p2pdv1.AttachResponse{Decision: &p2pdv1.AttachResponse_Introduce{Introduce: in}}
	case scheduler.Part:
		p := &p2pdv1.Part{Digest: d.Digest[:], Reason: d.Reason}
		for _, id := range d.Peers[:min(len(d.Peers), maxPeers)] {
			p.Peers = append(p.Peers, string(id))
		}
		return &p2pdv1.AttachResponse{Decision: &p2pdv1.AttachResponse_Part{Part: p}}
	case scheduler.Grant:
		return &p2pdv1.AttachResponse{Decision: &p2pdv1.AttachResponse_Grant{Grant: &p2pdv1.Grant{
			Digest: d.Digest[:], Lease: uint64(d.Lease.ID), Whole: d.Lease.Whole, Reason: d.Reason,
			First: uint32(d.Lease.Pieces.First), End: uint32(d.Lease.Pieces.End),
		}}}
	case scheduler.Revoke:
		return &p2pdv1.AttachResponse{Decision: &p2pdv1.AttachResponse_Revoke{Revoke: &p2pdv1.Revoke{
			Digest: d.Digest[:], Lease: uint64(d.Lease), Reason: d.Reason,
		}}}
	}
	return nil
}

// encodePeer keeps the first maxAddrs addresses: a host with more of them is
// still a peer, and the other side would refuse the rest.
func encodePeer(p scheduler.Peer) *p2pdv1.Peer {
	return &p2pdv1.Peer{Id: string(p.ID), Addrs: p.Addrs[:min(len(p.Addrs), maxAddrs)], Bulk: p.Bulk, Zone: p.Zone, Rack: p.Rack}
}

func encodeSize(n int64) *int64 {
	if n == scheduler.SizeUnknown {
		return nil
	}
	return &n
}

func encodeHave(b *piece.Bitfield) (have []byte, full bool) {
	if b.Len() > 0 && b.Full() {
		return nil, true
	}
	if b.Count() == 0 {
		return nil, false
	}
	return b.Append(nil), false
}
