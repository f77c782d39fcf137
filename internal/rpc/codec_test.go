package rpc

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// values compares what the wire must keep; an absent bitfield is an empty one.
var values = cmp.Options{
	cmp.Comparer(func(a, b piece.Bitfield) bool {
		return a.Len() == b.Len() && cmp.Equal(a.Append(nil), b.Append(nil))
	}),
}

func drawDigest(t *rapid.T) piece.Digest {
	return piece.Sum([]byte{rapid.Byte().Draw(t, "digest")})
}

// drawHave draws a size, perhaps unknown, and a bitfield that fits it.
func drawHave(t *rapid.T) (int64, piece.Bitfield) {
	if rapid.Bool().Draw(t, "unknown") {
		return scheduler.SizeUnknown, piece.Bitfield{}
	}
	l, _ := piece.NewLayout(rapid.Int64Range(0, 1<<30).Draw(t, "size"))
	b := piece.NewBitfield(l.Count())
	for i := range l.Count() {
		if rapid.Bool().Draw(t, "bit") {
			b.Set(i)
		}
	}
	return l.Size(), b
}

func drawPeer(t *rapid.T) scheduler.Peer {
	return scheduler.Peer{
		ID: scheduler.PeerID(rapid.StringN(1, 20, -1).Draw(t, "id")), Bulk: "10.0.0.1:7302", Zone: rapid.StringN(0, 20, -1).Draw(t, "zone"),
		Rack: rapid.StringN(0, 20, -1).Draw(t, "rack"), Addrs: rapid.SliceOfN(rapid.StringN(1, 20, -1), 1, maxAddrs).Draw(t, "addrs"),
	}
}

func drawEvent(t *rapid.T) scheduler.Event {
	d := drawDigest(t)
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		size, have := drawHave(t)
		return scheduler.Join{Peer: "me", Blobs: []scheduler.Membership{{Digest: d, Size: size, Have: have, Origin: "origin.test"}}}
	case 1:
		return scheduler.Leave{Peer: "me", Digest: d}
	case 2:
		size, have := drawHave(t)
		return scheduler.Summary{Peer: "me", Blobs: []scheduler.Progress{{
			Digest: d, Size: size, Have: have, Stalled: rapid.Bool().Draw(t, "stalled"),
			Leases: []scheduler.LeaseBytes{{ID: 7, Bytes: 1 << 40}}, Rates: []scheduler.NeighbourBytes{{Peer: "you", Bytes: 3}},
		}}}
	case 3:
		return scheduler.Blame{Peer: "me", Digest: d, Neighbour: "you", Fault: scheduler.Fault(rapid.IntRange(1, 3).Draw(t, "fault"))}
	default:
		return scheduler.LeaseEnd{Peer: "me", Digest: d, Lease: 9, Outcome: scheduler.Outcome(rapid.IntRange(1, 4).Draw(t, "outcome")),
			RetryAfter: time.Duration(rapid.IntRange(0, 60_000).Draw(t, "ms")) * time.Millisecond}
	}
}

func drawDecision(t *rapid.T) scheduler.Decision {
	d := drawDigest(t)
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		size, _ := drawHave(t)
		return scheduler.Introduce{To: "me", Digest: d, Size: size, Peers: []scheduler.Peer{drawPeer(t)}, Reason: "because"}
	case 1:
		return scheduler.Part{To: "me", Digest: d, Peers: []scheduler.PeerID{"you"}, Reason: "because"}
	case 2:
		first := rapid.IntRange(0, 100).Draw(t, "first")
		return scheduler.Grant{To: "me", Digest: d, Reason: "because", Lease: scheduler.Lease{
			ID: 3, Pieces: piece.Range{First: first, End: first + 5}, Whole: rapid.Bool().Draw(t, "whole"),
		}}
	default:
		return scheduler.Revoke{To: "me", Digest: d, Lease: 4, Reason: "because"}
	}
}

// Whatever one side says, the other hears.
func TestEventsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawEvent(t)
		b, err := proto.Marshal(encodeEvent(want))
		if err != nil {
			t.Fatal(err)
		}
		var m p2pdv1.AttachRequest
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		got, err := decodeEvent("me", &m)
		if diff := cmp.Diff(want, got, values); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func TestDecisionsSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawDecision(t)
		b, err := proto.Marshal(encodeDecision(want))
		if err != nil {
			t.Fatal(err)
		}
		var m p2pdv1.AttachResponse
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		got, err := decodeDecision("me", &m)
		if diff := cmp.Diff(want, got, values); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func TestHelloSurvivesTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawPeer(t)
		b, err := proto.Marshal(encodeEvent(scheduler.PeerUp{Peer: want}))
		if err != nil {
			t.Fatal(err)
		}
		var m p2pdv1.AttachRequest
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		got, err := decodePeer(m.GetHello().GetPeer())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

// A host with more addresses than a message may hold is a peer all the same.
func TestManyAddresses(t *testing.T) {
	addrs := slices.Repeat([]string{"/ip4/10.0.0.1/tcp/1"}, maxAddrs+1)
	p, err := decodePeer(encodePeer(scheduler.Peer{ID: "a", Addrs: addrs}))
	if err != nil || len(p.Addrs) != maxAddrs {
		t.Errorf("%d addresses, %v; want %d", len(p.Addrs), err, maxAddrs)
	}
}

// What does not fit is refused with an error that says so.
func TestMalformedMessages(t *testing.T) {
	digest := make([]byte, piece.DigestSize)
	size := int64(5 << 20)
	huge := int64(1 << 60)
	seven := piece.NewBitfield(7)
	for name, m := range map[string]*p2pdv1.AttachRequest{
		"short digest":          {Event: &p2pdv1.AttachRequest_Leave{Leave: &p2pdv1.Leave{Digest: digest[:31]}}},
		"bitfield of other len": {Event: &p2pdv1.AttachRequest_Join{Join: &p2pdv1.Join{Blobs: []*p2pdv1.Membership{{Digest: digest, Size: &size, Have: seven.Append(nil)}}}}},
		"absurd size":           {Event: &p2pdv1.AttachRequest_Join{Join: &p2pdv1.Join{Blobs: []*p2pdv1.Membership{{Digest: digest, Size: &huge}}}}},
		"no such fault":         {Event: &p2pdv1.AttachRequest_Blame{Blame: &p2pdv1.Blame{Digest: digest, Fault: 99}}},
		"no such outcome":       {Event: &p2pdv1.AttachRequest_LeaseEnd{LeaseEnd: &p2pdv1.LeaseEnd{Digest: digest}}},
		"too many blobs":        {Event: &p2pdv1.AttachRequest_Join{Join: &p2pdv1.Join{Blobs: make([]*p2pdv1.Membership, maxBlobs+1)}}},
		"second hello":          {Event: &p2pdv1.AttachRequest_Hello{Hello: &p2pdv1.Hello{}}},
	} {
		if e, err := decodeEvent("me", m); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %#v, %v", name, e, err)
		}
	}
	if e, err := decodeEvent("me", &p2pdv1.AttachRequest{}); e != nil || err != nil {
		t.Errorf("an event of the future: %#v, %v; want nothing", e, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []scheduler.Event{
		scheduler.Join{Blobs: []scheduler.Membership{{Size: 1 << 20, Have: piece.FullBitfield(1), Origin: "o"}}},
		scheduler.Summary{Blobs: []scheduler.Progress{{Size: 3 << 20, Have: piece.NewBitfield(3)}}},
		scheduler.LeaseEnd{Outcome: scheduler.Done},
	} {
		b, _ := proto.Marshal(encodeEvent(e))
		f.Add(b)
	}
	b, _ := proto.Marshal(encodeDecision(scheduler.Introduce{Size: 5, Peers: []scheduler.Peer{{ID: "x"}}}))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var req p2pdv1.AttachRequest
		if proto.Unmarshal(b, &req) == nil {
			if e, err := decodeEvent("me", &req); err == nil && e != nil {
				again, err := decodeEvent("me", encodeEvent(e))
				if diff := cmp.Diff(e, again, values); diff != "" || err != nil {
					t.Errorf("%v\n%s", err, diff)
				}
			}
		}
		var resp p2pdv1.AttachResponse
		if proto.Unmarshal(b, &resp) == nil {
			if d, err := decodeDecision("me", &resp); err == nil && d != nil {
				again, err := decodeDecision("me", encodeDecision(d))
				if diff := cmp.Diff(d, again, values); diff != "" || err != nil {
					t.Errorf("%v\n%s", err, diff)
				}
			}
		}
	})
}
