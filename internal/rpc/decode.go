package rpc

import (
	"errors"
	"fmt"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// Limits on what a message may hold. They bound the memory that one peer can
// make the other side spend.
const (
	maxMessage    = 4 << 20 // bytes of one message
	maxBlobs      = 4096    // blobs in a Join or Summary
	maxPeers      = 256     // neighbours in one message
	maxAddrs      = 16      // addresses of a peer
	maxText       = 512     // bytes of an ID, address, host or zone
	maxLeases     = 256     // leases in one Progress
	maxRetryAfter = time.Hour
)

// errMalformed is wrapped by every error of decoding.
var errMalformed = errors.New("malformed message")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// decodeEvent turns a message into an event of the peer from. An unknown
// event gives nil.
func decodeEvent(from scheduler.PeerID, m *p2pdv1.AttachRequest) (scheduler.Event, error) {
	switch e := m.GetEvent().(type) {
	case *p2pdv1.AttachRequest_Join:
		return decodeJoin(from, e.Join)
	case *p2pdv1.AttachRequest_Leave:
		d, err := decodeDigest(e.Leave.GetDigest())
		return scheduler.Leave{Peer: from, Digest: d}, err
	case *p2pdv1.AttachRequest_Summary:
		return decodeSummary(from, e.Summary)
	case *p2pdv1.AttachRequest_Blame:
		d, err := decodeDigest(e.Blame.GetDigest())
		if err != nil {
			return nil, err
		}
		fault := scheduler.Fault(e.Blame.GetFault())
		if fault < scheduler.Slow || fault > scheduler.False {
			return nil, malformed("fault %d", fault)
		}
		n, err := decodeText("neighbour", e.Blame.GetNeighbour())
		return scheduler.Blame{Peer: from, Digest: d, Neighbour: scheduler.PeerID(n), Fault: fault}, err
	case *p2pdv1.AttachRequest_LeaseEnd:
		return decodeLeaseEnd(from, e.LeaseEnd)
	case *p2pdv1.AttachRequest_Hello:
		return nil, malformed("second hello")
	}
	return nil, nil
}

func decodeJoin(from scheduler.PeerID, j *p2pdv1.Join) (scheduler.Event, error) {
	if len(j.GetBlobs()) > maxBlobs {
		return nil, malformed("%d blobs in a join", len(j.GetBlobs()))
	}
	e := scheduler.Join{Peer: from}
	for _, b := range j.GetBlobs() {
		var m scheduler.Membership
		var err error
		if m.Digest, err = decodeDigest(b.GetDigest()); err != nil {
			return nil, err
		}
		if m.Size, m.Have, err = decodeHave(b.Size, b.GetHave(), b.GetFull()); err != nil {
			return nil, err
		}
		if m.Origin, err = decodeText("origin", b.GetOrigin()); err != nil {
			return nil, err
		}
		e.Blobs = append(e.Blobs, m)
	}
	return e, nil
}

func decodeSummary(from scheduler.PeerID, s *p2pdv1.Summary) (scheduler.Event, error) {
	if len(s.GetBlobs()) > maxBlobs {
		return nil, malformed("%d blobs in a summary", len(s.GetBlobs()))
	}
	e := scheduler.Summary{Peer: from}
	for _, b := range s.GetBlobs() {
		if len(b.GetLeases()) > maxLeases || len(b.GetRates()) > maxPeers {
			return nil, malformed("%d leases and %d rates of one blob", len(b.GetLeases()), len(b.GetRates()))
		}
		p := scheduler.Progress{Stalled: b.GetStalled()}
		var err error
		if p.Digest, err = decodeDigest(b.GetDigest()); err != nil {
			return nil, err
		}
		if p.Size, p.Have, err = decodeHave(b.Size, b.GetHave(), false); err != nil {
			return nil, err
		}
		for _, l := range b.GetLeases() {
			p.Leases = append(p.Leases, scheduler.LeaseBytes{ID: scheduler.LeaseID(l.GetId()), Bytes: l.GetBytes()})
		}
		for _, r := range b.GetRates() {
			id, err := decodeText("rates.peer", r.GetPeer())
			if err != nil {
				return nil, err
			}
			p.Rates = append(p.Rates, scheduler.NeighbourBytes{Peer: scheduler.PeerID(id), Bytes: r.GetBytes()})
		}
		e.Blobs = append(e.Blobs, p)
	}
	return e, nil
}

func decodeLeaseEnd(from scheduler.PeerID, l *p2pdv1.LeaseEnd) (scheduler.Event, error) {
	d, err := decodeDigest(l.GetDigest())
	if err != nil {
		return nil, err
	}
	o := scheduler.Outcome(l.GetOutcome())
	if o < scheduler.Done || o > scheduler.OriginBusy {
		return nil, malformed("outcome %d", l.GetOutcome())
	}
	ms := l.GetRetryAfterMs()
	if ms < 0 || ms > maxRetryAfter.Milliseconds() {
		return nil, malformed("retry after %d ms", ms)
	}
	return scheduler.LeaseEnd{
		Peer: from, Digest: d, Lease: scheduler.LeaseID(l.GetLease()), Outcome: o,
		RetryAfter: time.Duration(ms) * time.Millisecond,
	}, nil
}

// decodeDecision turns a message into a decision for the peer to. An unknown
// decision gives nil.
func decodeDecision(to scheduler.PeerID, m *p2pdv1.AttachResponse) (scheduler.Decision, error) {
	switch d := m.GetDecision().(type) {
	case *p2pdv1.AttachResponse_Introduce:
		return decodeIntroduce(to, d.Introduce)
	case *p2pdv1.AttachResponse_Part:
		dg, err := decodeDigest(d.Part.GetDigest())
		if err != nil {
			return nil, err
		}
		if len(d.Part.GetPeers()) > maxPeers {
			return nil, malformed("%d peers to part from", len(d.Part.GetPeers()))
		}
		part := scheduler.Part{To: to, Digest: dg, Reason: d.Part.GetReason()}
		for _, p := range d.Part.GetPeers() {
			part.Peers = append(part.Peers, scheduler.PeerID(p))
		}
		return part, nil
	case *p2pdv1.AttachResponse_Grant:
		dg, err := decodeDigest(d.Grant.GetDigest())
		if err != nil {
			return nil, err
		}
		g := d.Grant
		if g.GetFirst() > g.GetEnd() || g.GetEnd() > piece.MaxPieces {
			return nil, malformed("lease on pieces %d..%d", g.GetFirst(), g.GetEnd())
		}
		return scheduler.Grant{
			To: to, Digest: dg, Reason: g.GetReason(),
			Lease: scheduler.Lease{
				ID: scheduler.LeaseID(g.GetLease()), Whole: g.GetWhole(),
				Pieces: piece.Range{First: int(g.GetFirst()), End: int(g.GetEnd())},
			},
		}, nil
	case *p2pdv1.AttachResponse_Revoke:
		dg, err := decodeDigest(d.Revoke.GetDigest())
		return scheduler.Revoke{To: to, Digest: dg, Lease: scheduler.LeaseID(d.Revoke.GetLease()), Reason: d.Revoke.GetReason()}, err
	}
	return nil, nil
}

func decodeIntroduce(to scheduler.PeerID, in *p2pdv1.Introduce) (scheduler.Decision, error) {
	d, err := decodeDigest(in.GetDigest())
	if err != nil {
		return nil, err
	}
	if len(in.GetPeers()) > maxPeers {
		return nil, malformed("%d peers introduced", len(in.GetPeers()))
	}
	size, err := decodeSize(in.Size)
	if err != nil {
		return nil, err
	}
	out := scheduler.Introduce{To: to, Digest: d, Size: size, Reason: in.GetReason()}
	for _, p := range in.GetPeers() {
		peer, err := decodePeer(p)
		if err != nil {
			return nil, err
		}
		out.Peers = append(out.Peers, peer)
	}
	return out, nil
}

func decodePeer(p *p2pdv1.Peer) (scheduler.Peer, error) {
	out := scheduler.Peer{ID: scheduler.PeerID(p.GetId()), Addrs: p.GetAddrs(), Bulk: p.GetBulk(), Zone: p.GetZone(), Rack: p.GetRack()}
	if p.GetId() == "" {
		return out, malformed("peer without an ID")
	}
	if len(p.GetAddrs()) > maxAddrs {
		return out, malformed("%d addresses", len(p.GetAddrs()))
	}
	for _, s := range append([]string{p.GetId(), p.GetBulk(), p.GetZone(), p.GetRack()}, p.GetAddrs()...) {
		if _, err := decodeText("peer", s); err != nil {
			return out, err
		}
	}
	return out, nil
}

func decodeDigest(b []byte) (piece.Digest, error) {
	if len(b) != piece.DigestSize {
		return piece.Digest{}, malformed("digest of %d bytes", len(b))
	}
	return piece.Digest(b), nil
}

func decodeText(field, s string) (string, error) {
	if len(s) > maxText {
		return "", malformed("%s of %d bytes", field, len(s))
	}
	return s, nil
}

func decodeSize(size *int64) (int64, error) {
	if size == nil {
		return scheduler.SizeUnknown, nil
	}
	if _, err := piece.NewLayout(*size); err != nil {
		return 0, malformed("%v", err)
	}
	return *size, nil
}

func decodeHave(size *int64, have []byte, full bool) (int64, piece.Bitfield, error) {
	n, err := decodeSize(size)
	if err != nil || n == scheduler.SizeUnknown {
		return n, piece.Bitfield{}, err
	}
	l, _ := piece.NewLayout(n) // checked by decodeSize
	if full {
		return n, piece.FullBitfield(l.Count()), nil
	}
	if len(have) == 0 {
		return n, piece.NewBitfield(l.Count()), nil
	}
	b, err := piece.ParseBitfield(have)
	if err != nil {
		return n, b, malformed("%v", err)
	}
	if b.Len() != l.Count() {
		return n, b, malformed("bitfield of %d pieces for a blob of %d", b.Len(), l.Count())
	}
	return n, b, nil
}
