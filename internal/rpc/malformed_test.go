package rpc

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

var (
	good  = make([]byte, piece.DigestSize)
	large = strings.Repeat("x", maxText+1)
)

func ofJoin(blobs ...*p2pdv1.Membership) *p2pdv1.AttachRequest {
	return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Join{Join: &p2pdv1.Join{Blobs: blobs}}}
}

func ofSummary(blobs ...*p2pdv1.Progress) *p2pdv1.AttachRequest {
	return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Summary{Summary: &p2pdv1.Summary{Blobs: blobs}}}
}

func ofRates(table []string, blobs ...*p2pdv1.Progress) *p2pdv1.AttachRequest {
	return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Summary{Summary: &p2pdv1.Summary{Blobs: blobs, Peers: table}}}
}

func ofBlame(b *p2pdv1.Blame) *p2pdv1.AttachRequest {
	return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Blame{Blame: b}}
}

func ofLeaseEnd(l *p2pdv1.LeaseEnd) *p2pdv1.AttachRequest {
	return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_LeaseEnd{LeaseEnd: l}}
}

// What does not fit is refused with an error that names the field.
func TestMalformedEvents(t *testing.T) {
	size, huge := proto.Int64(5<<20), proto.Int64(1<<60)
	seven := piece.NewBitfield(7)
	ok := &p2pdv1.Membership{Digest: good}
	for field, m := range map[string]*p2pdv1.AttachRequest{
		"leave.digest":        {Event: &p2pdv1.AttachRequest_Leave{Leave: &p2pdv1.Leave{Digest: good[1:]}}},
		"join.blobs:":         ofJoin(make([]*p2pdv1.Membership, maxBlobs+1)...),
		"join.blobs[1].dig":   ofJoin(ok, nil),
		"join.blobs[0].size":  ofJoin(&p2pdv1.Membership{Digest: good, Size: huge}),
		"join.blobs[1].have":  ofJoin(ok, &p2pdv1.Membership{Digest: good, Size: size, Have: seven.Append(nil)}),
		"join.blobs[0].have":  ofJoin(&p2pdv1.Membership{Digest: good, Size: size, Have: []byte{1}}),
		"join.blobs[0].have:": ofJoin(&p2pdv1.Membership{Digest: good, Full: true}),
		"join.blobs[0].orig":  ofJoin(&p2pdv1.Membership{Digest: good, Origin: large}),

		"summary.blobs:":                  ofSummary(make([]*p2pdv1.Progress, maxBlobs+1)...),
		"summary.blobs[0].digest":         ofSummary(nil),
		"summary.blobs[0].have":           ofSummary(&p2pdv1.Progress{Digest: good, Have: seven.Append(nil)}),
		"summary.blobs[0].leases:":        ofSummary(&p2pdv1.Progress{Digest: good, Leases: make([]*p2pdv1.LeaseBytes, maxLeases+1)}),
		"summary.blobs[0].leases[0].byt":  ofSummary(&p2pdv1.Progress{Digest: good, Leases: []*p2pdv1.LeaseBytes{{Bytes: -1}}}),
		"summary.blobs[0].rates:":         ofSummary(&p2pdv1.Progress{Digest: good, Rates: make([]*p2pdv1.NeighbourBytes, maxPeers+1)}),
		"summary.blobs[0].rates[0].peer":  ofSummary(&p2pdv1.Progress{Digest: good, Rates: []*p2pdv1.NeighbourBytes{nil}}),
		"summary.blobs[0].rates[0].bytes": ofSummary(&p2pdv1.Progress{Digest: good, Rates: []*p2pdv1.NeighbourBytes{{Peer: "x", Bytes: -1}}}),
		"summary.peers:":                  ofRates(make([]string, maxTable+1)),
		"summary.peers[1]: empty":         ofRates([]string{"x", ""}),
		"summary.peers[0]: 513":           ofRates([]string{large}),
		"summary.blobs[0].rates: 257":     ofRates([]string{"x"}, &p2pdv1.Progress{Digest: good, RatePeers: make([]uint32, maxPeers+1), RateBytes: make([]int64, maxPeers+1)}),
		"summary.blobs[0].rate_bytes: 1 ": ofRates([]string{"x"}, &p2pdv1.Progress{Digest: good, RatePeers: []uint32{0, 0}, RateBytes: []int64{1}}),
		"summary.blobs[0].rate_peers":     ofRates([]string{"x"}, &p2pdv1.Progress{Digest: good, RatePeers: []uint32{1}, RateBytes: []int64{1}}),
		"summary.blobs[0].rate_bytes: -1": ofRates([]string{"x"}, &p2pdv1.Progress{Digest: good, RatePeers: []uint32{0}, RateBytes: []int64{-1}}),

		"blame.digest":             ofBlame(nil),
		"blame.neighbour":          ofBlame(&p2pdv1.Blame{Digest: good, Fault: 1}),
		"blame.neighbour:":         ofBlame(&p2pdv1.Blame{Digest: good, Neighbour: large, Fault: 1}),
		"blame.fault":              ofBlame(&p2pdv1.Blame{Digest: good, Neighbour: "x"}),
		"blame.fault: 257":         ofBlame(&p2pdv1.Blame{Digest: good, Neighbour: "x", Fault: 257}),
		"lease_end.digest":         ofLeaseEnd(nil),
		"lease_end.outcome":        ofLeaseEnd(&p2pdv1.LeaseEnd{Digest: good}),
		"lease_end.outcome: 258":   ofLeaseEnd(&p2pdv1.LeaseEnd{Digest: good, Outcome: 258}),
		"lease_end.retry_after_ms": ofLeaseEnd(&p2pdv1.LeaseEnd{Digest: good, Outcome: 4, RetryAfterMs: -1}),
		"lease_end.retry_after":    ofLeaseEnd(&p2pdv1.LeaseEnd{Digest: good, Outcome: 4, RetryAfterMs: 1 << 62}),
		"hello":                    {Event: &p2pdv1.AttachRequest_Hello{Hello: &p2pdv1.Hello{}}},
	} {
		e, err := decodeEvent("me", m)
		if e != nil || !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), ": "+field) {
			t.Errorf("%s: %#v, %v", field, e, err)
		}
	}
	if e, err := decodeEvent("me", &p2pdv1.AttachRequest{}); e != nil || err != nil {
		t.Errorf("an event of the future: %#v, %v; want nothing", e, err)
	}
}

func TestMalformedHellos(t *testing.T) {
	for field, h := range map[string]*p2pdv1.Hello{
		"hello.version":       {Peer: &p2pdv1.Peer{Id: "x"}},
		"hello.version: 2":    {Peer: &p2pdv1.Peer{Id: "x"}, Version: 2},
		"hello.peer.id":       {Version: 1},
		"hello.peer.id: 513":  {Version: 1, Peer: &p2pdv1.Peer{Id: large}},
		"hello.peer.addrs: ":  {Version: 1, Peer: &p2pdv1.Peer{Id: "x", Addrs: make([]string, maxAddrs+1)}},
		"hello.peer.addrs[1]": {Version: 1, Peer: &p2pdv1.Peer{Id: "x", Addrs: []string{"", large}}},
		"hello.peer.bulk":     {Version: 1, Peer: &p2pdv1.Peer{Id: "x", Bulk: large}},
		"hello.peer.zone":     {Version: 1, Peer: &p2pdv1.Peer{Id: "x", Zone: large}},
		"hello.peer.rack":     {Version: 1, Peer: &p2pdv1.Peer{Id: "x", Rack: large}},
	} {
		_, err := decodeHello(&p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Hello{Hello: h}})
		if !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), ": "+field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := decodeHello(ofJoin()); !errors.Is(err, errMalformed) {
		t.Errorf("a join in place of a hello: %v", err)
	}
}

func TestMalformedDecisions(t *testing.T) {
	response := func(d *p2pdv1.Decision, table ...*p2pdv1.Peer) *p2pdv1.AttachResponse {
		return &p2pdv1.AttachResponse{Decisions: []*p2pdv1.Decision{d}, Peers: table}
	}
	introduce := func(in *p2pdv1.Introduce, table ...*p2pdv1.Peer) *p2pdv1.AttachResponse {
		return response(&p2pdv1.Decision{Decision: &p2pdv1.Decision_Introduce{Introduce: in}}, table...)
	}
	part := func(p *p2pdv1.Part) *p2pdv1.AttachResponse {
		return response(&p2pdv1.Decision{Decision: &p2pdv1.Decision_Part{Part: p}})
	}
	grant := func(g *p2pdv1.Grant) *p2pdv1.AttachResponse {
		return response(&p2pdv1.Decision{Decision: &p2pdv1.Decision_Grant{Grant: g}})
	}
	revoke := func(r *p2pdv1.Revoke) *p2pdv1.AttachResponse {
		return response(&p2pdv1.Decision{Decision: &p2pdv1.Decision_Revoke{Revoke: r}})
	}
	wait := func(w *p2pdv1.Wait) *p2pdv1.AttachResponse {
		return response(&p2pdv1.Decision{Decision: &p2pdv1.Decision_Wait{Wait: w}})
	}
	interval := func(ms int64) *p2pdv1.AttachResponse {
		return response(&p2pdv1.Decision{Decision: &p2pdv1.Decision_SummaryInterval{SummaryInterval: &p2pdv1.SummaryInterval{EveryMs: ms}}})
	}
	for field, m := range map[string]*p2pdv1.AttachResponse{
		"summary_interval.every_ms":   interval(0),
		"summary_interval.every_ms: ": interval(-1),
		"introduce.digest":            introduce(nil),
		"introduce.size":              introduce(&p2pdv1.Introduce{Digest: good, Size: proto.Int64(-1)}),
		"introduce.share_index":       introduce(&p2pdv1.Introduce{Digest: good, ShareIndex: 2, ShareOf: 2}),
		"introduce.peers:":            introduce(&p2pdv1.Introduce{Digest: good, Peers: make([]uint32, maxPeers+1)}),
		"introduce.peers[1]":          introduce(&p2pdv1.Introduce{Digest: good, Peers: []uint32{0, 1}}, &p2pdv1.Peer{Id: "x"}),
		"peers[0].id":                 introduce(&p2pdv1.Introduce{Digest: good}, &p2pdv1.Peer{}),
		"response.decisions":          {Decisions: make([]*p2pdv1.Decision, maxDecisions+1)},
		"response.peers":              {Peers: make([]*p2pdv1.Peer, maxTable+1)},
		"introduce.reason":            introduce(&p2pdv1.Introduce{Digest: good, Reason: strings.Repeat("x", maxReason+1)}),
		"part.digest":                 part(nil),
		"part.peers:":                 part(&p2pdv1.Part{Digest: good, Peers: make([]string, maxPeers+1)}),
		"part.peers[1]":               part(&p2pdv1.Part{Digest: good, Peers: []string{"x", ""}}),
		"grant.digest":                grant(nil),
		"grant.first":                 grant(&p2pdv1.Grant{Digest: good, First: 2, End: 1, Whole: true}),
		"grant.first: ":               grant(&p2pdv1.Grant{Digest: good, First: 2, End: 2}),
		"grant.end":                   grant(&p2pdv1.Grant{Digest: good, End: piece.MaxPieces + 1}),
		"revoke.digest":               revoke(nil),
		"wait.digest":                 wait(nil),
		"wait.for_ms":                 wait(&p2pdv1.Wait{Digest: good, ForMs: -1}),
		"wait.for_ms: ":               wait(&p2pdv1.Wait{Digest: good, ForMs: maxWait.Milliseconds() + 1}),
	} {
		d, err := decodeDecisions("me", m)
		if d != nil || !errors.Is(err, errMalformed) || !strings.Contains(err.Error(), ": "+field) {
			t.Errorf("%s: %#v, %v", field, d, err)
		}
	}
	if d, err := decodeDecisions("me", response(&p2pdv1.Decision{})); len(d) > 0 || err != nil {
		t.Errorf("a decision of the future: %#v, %v; want nothing", d, err)
	}
}

// Any bytes are an event or an error, and an event can be passed on.
func FuzzDecodeEvent(f *testing.F) {
	have := piece.NewBitfield(3)
	have.Set(1)
	for _, e := range []scheduler.Event{
		scheduler.PeerUp{Peer: scheduler.Peer{ID: "a", Addrs: []string{"/ip4/10.0.0.1/tcp/1"}}},
		scheduler.Join{Blobs: []scheduler.Membership{{Size: 1 << 20, Have: piece.FullBitfield(1), Origin: "o"}, {Size: scheduler.SizeUnknown}}},
		scheduler.Leave{},
		scheduler.Summary{Blobs: []scheduler.Progress{{
			Size: 3 << 20, Have: have, Leases: []scheduler.LeaseBytes{{ID: 1, Bytes: 2}}, Rates: []scheduler.NeighbourBytes{{Peer: "b", Bytes: 3}},
		}}},
		scheduler.Blame{Neighbour: "b", Fault: scheduler.False},
		scheduler.LeaseEnd{Outcome: scheduler.OriginBusy, RetryAfter: 5},
	} {
		b, err := proto.Marshal(encodeEvent(e))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m p2pdv1.AttachRequest
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		if p, err := decodeHello(&m); err == nil {
			again, err := decodeHello(encodeEvent(scheduler.PeerUp{Peer: p}))
			if diff := cmp.Diff(p, again, values); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		}
		if e, err := decodeEvent("me", &m); err == nil && e != nil {
			again, err := decodeEvent("me", encodeEvent(e))
			if diff := cmp.Diff(e, again, values); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		}
	})
}

// Any bytes are decisions or an error, and decisions can be passed on.
func FuzzDecodeDecision(f *testing.F) {
	for _, d := range []scheduler.Decision{
		scheduler.Introduce{Size: 5, Peers: []scheduler.Peer{{ID: "x"}}, Reason: "r"},
		scheduler.Part{Peers: []scheduler.PeerID{"x"}},
		scheduler.Grant{Lease: scheduler.Lease{ID: 1, Pieces: piece.Range{First: 2, End: 3}}},
		scheduler.Revoke{Lease: 1},
		scheduler.Wait{For: 5},
	} {
		b, err := proto.Marshal(encodeDecisions([]scheduler.Decision{d})[0])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m p2pdv1.AttachResponse
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		ds, err := decodeDecisions("me", &m)
		if err != nil {
			return
		}
		var again []scheduler.Decision
		for _, m := range encodeDecisions(ds) {
			some, err := decodeDecisions("me", m)
			if err != nil {
				t.Error(err)
			}
			again = append(again, some...)
		}
		if diff := cmp.Diff(ds, again, values); diff != "" {
			t.Error(diff)
		}
	})
}
