package rpc

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// values compares what the wire must keep: none and an empty list are one.
var values = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(secret.Value.Equal),
	cmp.Comparer(func(a, b piece.Bitfield) bool {
		return a.Len() == b.Len() && slices.Equal(a.Append(nil), b.Append(nil))
	}),
}

var (
	drawDigest = rapid.Custom(func(t *rapid.T) piece.Digest {
		return piece.Digest(rapid.SliceOfN(rapid.Byte(), piece.DigestSize, piece.DigestSize).Draw(t, "digest"))
	})
	drawText  = rapid.StringN(0, -1, maxText)
	drawID    = rapid.Map(rapid.StringN(1, -1, maxText), func(s string) scheduler.PeerID { return scheduler.PeerID(s) })
	drawBytes = rapid.Int64Min(0)
	drawPeer  = rapid.Custom(func(t *rapid.T) scheduler.Peer {
		return scheduler.Peer{
			ID: drawID.Draw(t, "id"), Addrs: rapid.SliceOfN(drawText, 0, maxAddrs).Draw(t, "addrs"),
			Bulk: drawText.Draw(t, "bulk"), Zone: drawText.Draw(t, "zone"), Rack: drawText.Draw(t, "rack"),
		}
	})
	drawLease = rapid.Map(rapid.Uint64(), func(id uint64) scheduler.LeaseID { return scheduler.LeaseID(id) })
)

// drawHave draws a size, perhaps unknown, and a bitfield that fits it.
func drawHave(t *rapid.T) (int64, piece.Bitfield) {
	if rapid.Bool().Draw(t, "unknown") {
		return scheduler.SizeUnknown, piece.Bitfield{}
	}
	l, err := piece.NewLayout(rapid.Int64Range(0, 1<<30).Draw(t, "size"))
	if err != nil {
		t.Fatal(err)
	}
	if rapid.Bool().Draw(t, "full") {
		return l.Size(), piece.FullBitfield(l.Count())
	}
	b := piece.NewBitfield(l.Count())
	for _, i := range rapid.SliceOf(rapid.IntRange(0, max(l.Count()-1, 0))).Draw(t, "have") {
		if i < l.Count() {
			b.Set(i)
		}
	}
	return l.Size(), b
}

var drawMembership = rapid.Custom(func(t *rapid.T) (m scheduler.Membership) {
	m.Digest, m.Origin = drawDigest.Draw(t, "digest"), drawText.Draw(t, "origin")
	m.Size, m.Have = drawHave(t)
	m.Moved, m.Patient = rapid.Bool().Draw(t, "moved"), rapid.Bool().Draw(t, "patient")
	for range rapid.IntRange(0, 3).Draw(t, "leases") {
		m.Leases = append(m.Leases, drawHeld(t))
	}
	return m
})

func drawHeld(t *rapid.T) scheduler.Lease {
	l := scheduler.Lease{ID: drawLease.Draw(t, "lease"), Whole: rapid.Bool().Draw(t, "whole")}
	l.Pieces.First = rapid.IntRange(0, piece.MaxPieces-1).Draw(t, "first")
	l.Pieces.End = rapid.IntRange(l.Pieces.First+1, piece.MaxPieces).Draw(t, "end")
	return l
}

var drawProgress = rapid.Custom(func(t *rapid.T) (p scheduler.Progress) {
	p.Digest, p.Stalled = drawDigest.Draw(t, "digest"), rapid.Bool().Draw(t, "stalled")
	p.Size, p.Have = drawHave(t)
	for range rapid.IntRange(0, 3).Draw(t, "leases") {
		p.Leases = append(p.Leases, scheduler.LeaseBytes{ID: drawLease.Draw(t, "lease"), Bytes: drawBytes.Draw(t, "bytes")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "rates") {
		p.Rates = append(p.Rates, scheduler.NeighbourBytes{Peer: drawID.Draw(t, "peer"), Bytes: drawBytes.Draw(t, "bytes")})
	}
	return p
})

func drawEvent(t *rapid.T) scheduler.Event {
	d := drawDigest.Draw(t, "digest")
	switch kind(rapid.IntRange(int(kindJoin), int(kindPreheat)).Draw(t, "kind")) {
	case kindJoin:
		return scheduler.Join{Peer: "me", Blobs: rapid.SliceOfN(drawMembership, 0, 4).Draw(t, "blobs")}
	case kindLeave:
		return scheduler.Leave{Peer: "me", Digest: d}
	case kindSummary:
		return scheduler.Summary{Peer: "me", Blobs: rapid.SliceOfN(drawProgress, 0, 4).Draw(t, "blobs")}
	case kindBlame:
		return scheduler.Blame{
			Peer: "me", Digest: d, Neighbour: drawID.Draw(t, "neighbour"),
			Fault: rapid.SampledFrom([]scheduler.Fault{scheduler.Slow, scheduler.Unreachable, scheduler.False}).Draw(t, "fault"),
		}
	case kindDispute:
		return scheduler.Dispute{
			Peer: "me", Digest: d, Settled: rapid.Bool().Draw(t, "settled"), Misread: rapid.Bool().Draw(t, "misread"), Pieces: slices.Sorted(slices.Values(rapid.SliceOfNDistinct(rapid.IntRange(0, math.MaxInt32), 0, 5, rapid.ID[int]).Draw(t, "pieces"))),
		}
	case kindPreheat:
		return drawPreheatReport.Draw(t, "report")
	default:
		return scheduler.LeaseEnd{
			Peer: "me", Digest: d, Lease: drawLease.Draw(t, "lease"),
			Outcome:    rapid.SampledFrom([]scheduler.Outcome{scheduler.Done, scheduler.Failed, scheduler.NoRange, scheduler.OriginBusy}).Draw(t, "outcome"),
			RetryAfter: time.Duration(rapid.Int64Range(0, maxRetryAfter.Milliseconds()).Draw(t, "ms")) * time.Millisecond,
		}
	}
}

func drawDecision(t *rapid.T) scheduler.Decision {
	d, why := drawDigest.Draw(t, "digest"), rapid.StringN(0, -1, maxReason).Draw(t, "reason")
	switch rapid.IntRange(0, 11).Draw(t, "kind") {
	case 11:
		ms := rapid.Int64Range(scheduler.SummaryEvery.Milliseconds(), scheduler.MaxSummaryEvery.Milliseconds()).Draw(t, "ms")
		return scheduler.SummaryInterval{To: "me", Every: time.Duration(ms) * time.Millisecond, Reason: why}
	case 10:
		signed := rapid.SliceOfN(rapid.Byte(), 1, member.MaxTicket).Draw(t, "signed")
		return scheduler.Ticket{To: "me", Digest: d, Signed: signed, Reason: why}
	case 0:
		size, _ := drawHave(t)
		share := scheduler.Share{Of: rapid.IntRange(0, maxPeers).Draw(t, "of")}
		share.Index = rapid.IntRange(0, max(share.Of-1, 0)).Draw(t, "index")
		return scheduler.Introduce{To: "me", Digest: d, Size: size, Share: share, Peers: rapid.SliceOfN(drawPeer, 0, 4).Draw(t, "peers"), Reason: why}
	case 1:
		return scheduler.Part{To: "me", Digest: d, Peers: rapid.SliceOfN(drawID, 0, 4).Draw(t, "peers"), Reason: why}
	case 2:
		return scheduler.Grant{To: "me", Digest: d, Reason: why, Lease: drawHeld(t)}
	case 3:
		ms := rapid.Int64Range(0, maxWait.Milliseconds()).Draw(t, "ms")
		return scheduler.Wait{To: "me", Digest: d, For: time.Duration(ms) * time.Millisecond, Reason: why}
	case 6:
		return scheduler.Acquaint{To: "me", Peers: rapid.SliceOfN(drawPeer, 0, 4).Draw(t, "peers"), Reason: why}
	case 5:
		ms := rapid.Int64Range(0, scheduler.BanMost.Milliseconds()).Draw(t, "ms")
		return scheduler.Shun{To: "me", Peer: drawID.Draw(t, "peer"), For: time.Duration(ms) * time.Millisecond, At: drawMoment(t), Reason: why}
	case 8:
		return drawPreheat.Draw(t, "preheat")
	case 9:
		return scheduler.PreheatEnd{To: "me", Job: drawJob.Draw(t, "job"), Reason: why}
	case 4:
		names := rapid.SliceOfN(rapid.StringN(1, 40, maxText), 0, 4).Draw(t, "names")
		return scheduler.Roster{To: "me", Self: rapid.StringN(0, 40, maxText).Draw(t, "self"), Names: names, Reason: why}
	default:
		return scheduler.Revoke{To: "me", Digest: d, Lease: drawLease.Draw(t, "lease"), Reason: why}
	}
}

// carry takes a message over the wire.
func carry[M proto.Message](t interface{ Fatal(...any) }, from, to M) M {
	b, err := proto.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(b, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// Whatever one side says, the other hears.
func TestEventsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		got, err := decodeEvent("me", carry(t, encodeEvent(want), &p2pdv1.AttachRequest{}))
		if diff := cmp.Diff(want, got, values); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func TestDecisionsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(drawDecision), 0, 5).Draw(t, "decisions")
		if diff := cmp.Diff(want, decisionsOverTheWire(t, want), values); diff != "" {
			t.Fatal(diff)
		}
	})
}

// decisionsOverTheWire is what the other side hears of ds.
func decisionsOverTheWire(t interface{ Fatal(...any) }, ds []scheduler.Decision) []scheduler.Decision {
	var got []scheduler.Decision
	for _, m := range encodeDecisions(ds) {
		some, err := decodeDecisions("me", carry(t, m, &p2pdv1.AttachResponse{}))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, some...)
	}
	return got
}

// Who is met in many swarms is written once, and anew only after it moved.
func TestPeersTravelOnce(t *testing.T) {
	a, b := scheduler.Peer{ID: "a", Bulk: "10.0.0.1:1"}, scheduler.Peer{ID: "b"}
	moved := scheduler.Peer{ID: "a", Bulk: "10.0.0.2:1"}
	var want []scheduler.Decision
	for _, peers := range [][]scheduler.Peer{{a, b}, {b, a}, {moved}, {moved, b}} {
		want = append(want, scheduler.Introduce{To: "me", Size: 1, Peers: peers})
	}
	if ms := encodeDecisions(want); len(ms) != 1 || len(ms[0].GetPeers()) != 3 {
		t.Errorf("%v, want one message with three peers", ms)
	}
	if diff := cmp.Diff(want, decisionsOverTheWire(t, want), values); diff != "" {
		t.Error(diff)
	}
}

// However much there is to say, no message is too large.
func TestDecisionsFitTheirMessages(t *testing.T) {
	long := strings.Repeat("x", maxText-8)
	var crowd []scheduler.Peer
	for i := range 2 * maxPeers {
		id := scheduler.PeerID(fmt.Sprint(i, long))
		crowd = append(crowd, scheduler.Peer{ID: id, Addrs: slices.Repeat([]string{long}, maxAddrs), Bulk: long, Zone: long, Rack: long})
	}
	var ds []scheduler.Decision
	for i := range maxDecisions {
		ds = append(ds, scheduler.Introduce{To: "me", Size: 1, Peers: crowd[i%2*maxPeers:][:maxPeers], Reason: strings.Repeat("x", maxReason)})
	}
	ms := encodeDecisions(ds)
	for _, m := range ms {
		if n := proto.Size(m); n > maxMessage {
			t.Fatalf("a message of %d bytes, at most %d are taken", n, maxMessage)
		}
	}
	if got := decisionsOverTheWire(t, ds); len(got) != len(ds) || len(ms) < 2 {
		t.Errorf("%d decisions arrived in %d messages, want %d in several", len(got), len(ms), len(ds))
	}
}

func TestHelloSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawPeer.Draw(t, "peer")
		want.Platform = drawText.Draw(t, "platform")
		got, err := decodeHello(carry(t, encodeEvent(scheduler.PeerUp{Peer: want}), &p2pdv1.AttachRequest{}))
		if diff := cmp.Diff(want, got, values); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

// A peer that holds more than one message may carry says it in several.
func TestMuchToSay(t *testing.T) {
	const blobs = maxBlobs + 1
	j, s := scheduler.Join{Peer: "me"}, scheduler.Summary{Peer: "me"}
	for i := range blobs {
		d := piece.Sum(fmt.Append(nil, i))
		j.Blobs = append(j.Blobs, scheduler.Membership{Digest: d, Size: scheduler.SizeUnknown})
		s.Blobs = append(s.Blobs, scheduler.Progress{Digest: d, Size: scheduler.SizeUnknown})
	}
	var gotJ, gotS []piece.Digest
	for _, e := range append(split(j), split(s)...) {
		m, err := decodeEvent("me", encodeEvent(e))
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case scheduler.Join:
			for _, b := range m.Blobs {
				gotJ = append(gotJ, b.Digest)
			}
		case scheduler.Summary:
			for _, b := range m.Blobs {
				gotS = append(gotS, b.Digest)
			}
		}
	}
	for name, got := range map[string][]piece.Digest{"join": gotJ, "summary": gotS} {
		if len(got) != blobs || got[blobs-1] != j.Blobs[blobs-1].Digest {
			t.Errorf("%s of %d blobs arrived as one of %d", name, blobs, len(got))
		}
	}
	most := piece.FullBitfield(piece.MaxPieces)
	most.Clear(0)
	large := scheduler.Join{Blobs: slices.Repeat([]scheduler.Membership{{Size: piece.MaxBlobSize, Have: most}}, blobsSent)}
	if n := proto.Size(encodeEvent(large)); n > maxMessage {
		t.Errorf("%d of the largest blobs need %d bytes, a message has %d", blobsSent, n, maxMessage)
	}
}

// What exceeds a limit is cut where the rest still has a use.
func TestEncodingKeepsToTheLimits(t *testing.T) {
	addrs := slices.Repeat([]string{"/ip4/10.0.0.1/tcp/1"}, maxAddrs+1)
	p, err := decodePeer(encodePeer(scheduler.Peer{ID: "a", Addrs: addrs}))
	if err != nil || len(p.Addrs) != maxAddrs {
		t.Errorf("%d addresses, %v; want %d", len(p.Addrs), err, maxAddrs)
	}
	for _, wait := range []time.Duration{-time.Second, 48 * time.Hour} {
		e := scheduler.LeaseEnd{Outcome: scheduler.OriginBusy, RetryAfter: wait}
		if _, err := decodeEvent("me", encodeEvent(e)); err != nil {
			t.Errorf("retry after %v: %v", wait, err)
		}
	}
	long := scheduler.Revoke{To: "me", Reason: strings.Repeat("é", maxReason)}
	if why := decisionsOverTheWire(t, []scheduler.Decision{long})[0].Why(); !utf8.ValidString(why) || len(why) < maxReason-utf8.UTFMax || len(why) > maxReason {
		t.Errorf("a reason of %d bytes arrived as %d, want about %d", len(long.Reason), len(why), maxReason)
	}
	crowd := make([]scheduler.Peer, maxPeers+1)
	for i := range crowd {
		crowd[i].ID = "x"
	}
	in := decisionsOverTheWire(t, []scheduler.Decision{scheduler.Introduce{Size: 1, Peers: crowd}})[0].(scheduler.Introduce)
	if len(in.Peers) != maxPeers {
		t.Errorf("%d neighbours, want %d", len(in.Peers), maxPeers)
	}
}

// A size that one side does not know cannot go with pieces.
func TestPiecesWithoutSizeStayHome(t *testing.T) {
	for _, have := range []piece.Bitfield{piece.FullBitfield(3), func() piece.Bitfield { b := piece.NewBitfield(3); b.Set(1); return b }()} {
		e := scheduler.Join{Blobs: []scheduler.Membership{{Size: scheduler.SizeUnknown, Have: have}}}
		if _, err := decodeEvent("me", encodeEvent(e)); err != nil {
			t.Error(err)
		}
	}
}

// drawMoment is a time as the wire has it, or none.
func drawMoment(t *rapid.T) time.Time {
	if ns := rapid.Int64Min(0).Draw(t, "at"); ns > 0 {
		return time.Unix(0, ns).UTC()
	}
	return time.Time{}
}
