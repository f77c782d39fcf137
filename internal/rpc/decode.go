package rpc

import (
	"fmt"
	"math"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// malformed makes the error of a message out of that of a field in part.
func malformed(part string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errMalformed, in(part, err))
}

// decodeHello takes the first message of a stream.
func decodeHello(m *p2pdv1.AttachRequest) (scheduler.Peer, error) {
	h := m.GetHello()
	if h == nil {
		return scheduler.Peer{}, fmt.Errorf("%w: event: the first must be a hello", errMalformed)
	}
	if h.GetVersion() != protocolVersion {
		return scheduler.Peer{}, malformed("hello", bad("version", "%d, spoken here is %d", h.GetVersion(), protocolVersion))
	}
	p, err := decodePeer(h.GetPeer())
	if err != nil {
		return p, malformed("hello.peer", err)
	}
	p.Platform, err = decodeText("platform", h.GetPlatform())
	p.Unpacks = h.GetUnpacks()
	return p, malformed("hello", err)
}

// decodeEvent turns a message into an event of the peer from. An unknown
// event gives nil.
func decodeEvent(from scheduler.PeerID, m *p2pdv1.AttachRequest) (scheduler.Event, error) {
	switch e := m.GetEvent().(type) {
	case *p2pdv1.AttachRequest_Join:
		j, err := decodeJoin(e.Join)
		j.Peer = from
		return orError[scheduler.Event](j, malformed("join", err))
	case *p2pdv1.AttachRequest_Leave:
		d, err := decodeDigest("digest", e.Leave.GetDigest())
		return orError[scheduler.Event](scheduler.Leave{Peer: from, Digest: d}, malformed("leave", err))
	case *p2pdv1.AttachRequest_Summary:
		s, err := decodeSummary(e.Summary)
		s.Peer = from
		return orError[scheduler.Event](s, malformed("summary", err))
	case *p2pdv1.AttachRequest_Blame:
		b, err := decodeBlame(e.Blame)
		b.Peer = from
		return orError[scheduler.Event](b, malformed("blame", err))
	case *p2pdv1.AttachRequest_LeaseEnd:
		l, err := decodeLeaseEnd(e.LeaseEnd)
		l.Peer = from
		return orError[scheduler.Event](l, malformed("lease_end", err))
	case *p2pdv1.AttachRequest_Dispute:
		d, err := decodeDispute(e.Dispute)
		d.Peer = from
		return orError[scheduler.Event](d, malformed("dispute", err))
	case *p2pdv1.AttachRequest_PreheatReport:
		r, err := decodePreheatReport(e.PreheatReport)
		r.Peer = from
		return orError[scheduler.Event](r, malformed("preheat_report", err))
	case *p2pdv1.AttachRequest_Hello:
		return nil, fmt.Errorf("%w: hello: a second one", errMalformed)
	}
	return nil, nil
}

// orError is v, or nothing with an error.
func orError[T any](v T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return v, nil
}

func decodeJoin(j *p2pdv1.Join) (scheduler.Join, error) {
	if err := atMost("blobs", len(j.GetBlobs()), maxBlobs); err != nil {
		return scheduler.Join{}, err
	}
	e := scheduler.Join{Blobs: make([]scheduler.Membership, 0, len(j.GetBlobs()))}
	for i, b := range j.GetBlobs() {
		m, err := decodeMembership(b)
		if err != nil {
			return scheduler.Join{}, in(fmt.Sprintf("blobs[%d]", i), err)
		}
		e.Blobs = append(e.Blobs, m)
	}
	return e, nil
}

func decodeMembership(b *p2pdv1.Membership) (m scheduler.Membership, err error) {
	if m.Digest, err = decodeDigest("digest", b.GetDigest()); err != nil {
		return m, err
	}
	if m.Size, m.Have, err = decodeHave(b.Size, b.GetHave(), b.GetFull()); err != nil {
		return m, err
	}
	if m.Origin, err = decodeText("origin", b.GetOrigin()); err != nil {
		return m, err
	}
	m.Moved, m.Patient = b.GetMoved(), b.GetPatient()
	if err := atMost("leases", len(b.GetLeases()), maxLeases); err != nil {
		return m, err
	}
	for i, l := range b.GetLeases() {
		held := scheduler.Lease{ID: scheduler.LeaseID(l.GetId()), Whole: l.GetWhole()}
		if held.Pieces, err = decodePieces(l.GetFirst(), l.GetEnd(), l.GetWhole()); err != nil {
			return m, in(fmt.Sprintf("leases[%d]", i), err)
		}
		m.Leases = append(m.Leases, held)
	}
	return m, nil
}

// decodeProgress takes one download; table has the names of neighbours.
func decodeProgress(b *p2pdv1.Progress, table []string) (p scheduler.Progress, err error) {
	if p.Digest, err = decodeDigest("digest", b.GetDigest()); err != nil {
		return p, err
	}
	if p.Size, p.Have, err = decodeHave(b.Size, b.GetHave(), false); err != nil {
		return p, err
	}
	p.Stalled = b.GetStalled()
	if err := atMost("leases", len(b.GetLeases()), maxLeases); err != nil {
		return p, err
	}
	for i, l := range b.GetLeases() {
		n, err := decodeBytes("bytes", l.GetBytes())
		if err != nil {
			return p, in(fmt.Sprintf("leases[%d]", i), err)
		}
		p.Leases = append(p.Leases, scheduler.LeaseBytes{ID: scheduler.LeaseID(l.GetId()), Bytes: n})
	}
	p.Rates, err = decodeRates(b, table)
	return p, err
}

func decodeBlame(b *p2pdv1.Blame) (e scheduler.Blame, err error) {
	if e.Digest, err = decodeDigest("digest", b.GetDigest()); err != nil {
		return e, err
	}
	if e.Neighbour, err = decodeID("neighbour", b.GetNeighbour()); err != nil {
		return e, err
	}
	f := b.GetFault()
	if f < p2pdv1.Fault_FAULT_SLOW || f > p2pdv1.Fault_FAULT_FALSE {
		return e, bad("fault", "%d", f)
	}
	e.Fault = scheduler.Fault(f)
	return e, nil
}

func decodeDispute(m *p2pdv1.Dispute) (e scheduler.Dispute, err error) {
	if e.Digest, err = decodeDigest("digest", m.GetDigest()); err != nil {
		return e, err
	}
	if err := atMost("pieces", len(m.GetPieces()), maxDisputed); err != nil {
		return e, err
	}
	e.Settled, e.Misread = m.GetSettled(), m.GetMisread()
	for _, i := range m.GetPieces() {
		if n := len(e.Pieces); i > math.MaxInt32 || n > 0 && int(i) <= e.Pieces[n-1] {
			return e, bad("pieces", "%d is out of order or range", i)
		}
		e.Pieces = append(e.Pieces, int(i))
	}
	return e, nil
}

func decodeLeaseEnd(l *p2pdv1.LeaseEnd) (e scheduler.LeaseEnd, err error) {
	if e.Digest, err = decodeDigest("digest", l.GetDigest()); err != nil {
		return e, err
	}
	o := l.GetOutcome()
	if o < p2pdv1.Outcome_OUTCOME_DONE || o > p2pdv1.Outcome_OUTCOME_ORIGIN_BUSY {
		return e, bad("outcome", "%d", o)
	}
	ms := l.GetRetryAfterMs()
	if ms < 0 || ms > maxRetryAfter.Milliseconds() {
		return e, bad("retry_after_ms", "%d, at most %d are allowed", ms, maxRetryAfter.Milliseconds())
	}
	e.Lease, e.Outcome = scheduler.LeaseID(l.GetLease()), scheduler.Outcome(o)
	e.RetryAfter = time.Duration(ms) * time.Millisecond
	return e, nil
}
