package rpc

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
	"github.com/p2pd/p2pd/proto/wiretest"
)

// events and decisions are one of each kind, with every field set. What they say
// must not change: it is what earlier versions sent.
func wireEvents() map[string]scheduler.Event {
	d := piece.Sum([]byte("blob"))
	have := piece.NewBitfield(3)
	have.Set(1)
	const size = 3 << 20
	summary := scheduler.Summary{Peer: "me", Blobs: []scheduler.Progress{{
		Digest: d, Size: size, Have: have, Stalled: true,
		Leases: []scheduler.LeaseBytes{{ID: 7, Bytes: 9}}, Rates: []scheduler.NeighbourBytes{{Peer: "other", Bytes: 5}},
	}}}
	return map[string]scheduler.Event{
		"join": scheduler.Join{Peer: "me", Blobs: []scheduler.Membership{{
			Digest: d, Origin: "registry.example", Size: size, Have: have, Moved: true,
			Leases: []scheduler.Lease{{ID: 7, Pieces: piece.Range{First: 1, End: 3}, Whole: true}},
		}}},
		"patient join": scheduler.Join{Peer: "me", Blobs: []scheduler.Membership{{Digest: d, Origin: "registry.example", Size: size, Have: have, Patient: true}}},
		"preheat report": scheduler.PreheatReport{
			Peer: "me", Job: 7, State: scheduler.PreheatFailed, Blobs: 2, Bytes: 9, Failed: d, Error: "disk full",
		},
		"unpacking report": scheduler.PreheatReport{Peer: "me", Job: 7, State: scheduler.PreheatFetching, Blobs: 2, Bytes: 9, Unpacking: true},
		"leave":            scheduler.Leave{Peer: "me", Digest: d},
		"summary":          summary, spelledOut: summary,
		"blame":      scheduler.Blame{Peer: "me", Digest: d, Neighbour: "other", Fault: scheduler.False},
		"dispute":    scheduler.Dispute{Peer: "me", Digest: d, Settled: true, Pieces: []int{1, 7}},
		"confession": scheduler.Dispute{Peer: "me", Digest: d, Settled: true, Pieces: []int{1}, Misread: true},
		"lease end":  scheduler.LeaseEnd{Peer: "me", Digest: d, Lease: 7, Outcome: scheduler.OriginBusy, RetryAfter: 3 * time.Second},
	}
}

// spelledOut is a summary as an earlier scheduler is sent it.
const spelledOut = "summary without a table"

// wireNow is when reports on record were sent.
func wireNow() time.Time { return time.Unix(1e9, 0) }

// wireReports are reports with every field set.
func wireReports() map[string]ledger.Report {
	d := piece.Sum([]byte("blob"))
	blob := pulls.Arrival{
		Digest: d, Size: 9, Asked: time.Second, First: 2 * time.Second, Done: 3 * time.Second, FromPeers: 4, FromOrigin: 3, FromCache: 2,
	}
	return map[string]ledger.Report{
		"pull report": {LeftOut: 2, Pulls: []pulls.Record{{
			Of: pulls.Name{Host: "registry.example", Repo: "team/app", Digest: d}, Tag: "1.2", Began: wireNow().Add(-5 * time.Second),
			Manifest: 500 * time.Millisecond, Took: 3 * time.Second, Outcome: pulls.Failed, Held: 1, More: 2,
			Blobs: []pulls.Arrival{blob, {Digest: d, Size: 9, First: pulls.Never, Done: pulls.Never}},
		}}},
		"incident report": {Incidents: []ledger.Incident{
			{Kind: api.IncidentRefusal, About: "registry.example/team/app:1.2", Status: 403, Reason: "denied", Advice: "ask", Times: 3, Last: wireNow().Add(-time.Second)},
			{Kind: api.IncidentVerify, About: d.String(), Reason: "false bytes", Times: 1, Last: wireNow()},
		}},
		"check report": {Checks: []api.CheckRun{{
			Node: "worker-1", Millis: 1500, EverySeconds: 300, Made: 12, Image: "registry.example/canary:1", PullMillis: 700, StartMillis: 200, Success: true,
			Findings: []api.CheckFinding{{ID: "p2pd-ready", Category: "p2pd", Description: "p2pd is ready", Result: "warning", Error: "it is not", Hint: "https://docs.example/#p2pd-ready"}},
		}}},
	}
}

func wireDecisions() map[string]scheduler.Decision {
	d := piece.Sum([]byte("blob"))
	other := scheduler.Peer{ID: "other", Addrs: []string{"/ip4/10.0.0.1/tcp/7301"}, Bulk: "10.0.0.1:7302", Zone: "z", Rack: "r"}
	return map[string]scheduler.Decision{
		"introduce":  scheduler.Introduce{To: "me", Digest: d, Size: 3 << 20, Share: scheduler.Share{Index: 1, Of: 3}, Peers: []scheduler.Peer{other}, Reason: "why"},
		"proven":     scheduler.Introduce{To: "me", Digest: d, Size: 3 << 20, Proven: true, Peers: []scheduler.Peer{other}, Reason: "why"},
		"part":       scheduler.Part{To: "me", Digest: d, Peers: []scheduler.PeerID{"other"}, Reason: "why"},
		"grant":      scheduler.Grant{To: "me", Digest: d, Reason: "why", Lease: scheduler.Lease{ID: 7, Pieces: piece.Range{First: 1, End: 3}, Whole: true}},
		"wait":       scheduler.Wait{To: "me", Digest: d, For: 250 * time.Millisecond, Reason: "why"},
		"interval":   scheduler.SummaryInterval{To: "me", Every: 4 * time.Second, Reason: "why"},
		"roster":     scheduler.Roster{To: "me", Self: "a.example:7310", Names: []string{"a.example:7310", "b.example:7310"}, Reason: "why"},
		"shun":       scheduler.Shun{To: "me", Peer: "other", For: time.Minute, Reason: "why"},
		"dated shun": scheduler.Shun{To: "me", Peer: "other", At: time.Unix(1, 5).UTC(), Reason: "why"},
		"ticket":     scheduler.Ticket{To: "me", Digest: d, Signed: []byte("signed"), Reason: "why"},
		"acquaint":   scheduler.Acquaint{To: "me", Peers: []scheduler.Peer{other}, Reason: "why"},
		"preheat": scheduler.Preheat{
			To: "me", Job: 7, Registry: "registry.example", Repository: "team/app", Authorization: secret.New("Bearer x"), Bereft: true, Reason: "why",
			Blobs: []scheduler.PreheatBlob{{Digest: d, Size: 9, Manifest: true}},
		},
		"preheat into containerd": scheduler.Preheat{
			To: "me", Job: 7, Registry: "registry.example", Repository: "team/app", Authorization: secret.New("Bearer x"), Reason: "why",
			Blobs: []scheduler.PreheatBlob{{Digest: d, Size: 9, Manifest: true}}, Unpack: "v1", Login: secret.New("dTpw"),
		},
		"preheat end": scheduler.PreheatEnd{To: "me", Job: 7, Reason: "why"},
		"revoke":      scheduler.Revoke{To: "me", Digest: d, Lease: 7, Reason: "why"},
	}
}

// What earlier versions sent is understood, word for word; and what is sent now is
// on record for later ones.
func TestWireOfEarlierVersions(t *testing.T) {
	now := make(map[string][]byte)
	write := func(name string, m proto.Message) {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		now[name] = b
	}
	for name, e := range wireEvents() {
		m := encodeEvent(e)
		if name == spelledOut {
			spellOut(m.GetSummary())
		}
		write(name, m)
	}
	for name, d := range wireDecisions() {
		write(name, encodeDecisions([]scheduler.Decision{d})[0])
	}
	for name, r := range wireReports() {
		write(name, encodeReport(&r, wireNow()))
	}
	wiretest.Recordings(t, now, understands)
}

// understands fails unless recorded bytes say what they said then.
func understands(t *testing.T, name string, wire []byte) {
	t.Helper()
	var want, got any
	var err error
	if r, ok := wireReports()[name]; ok {
		want = r
		var m p2pdv1.AttachRequest
		if err = proto.Unmarshal(wire, &m); err == nil {
			got, err = decodeReport(m.GetReport(), wireNow())
		}
	} else if e, ok := wireEvents()[name]; ok {
		want = e
		var m p2pdv1.AttachRequest
		if err = proto.Unmarshal(wire, &m); err == nil {
			got, err = decodeEvent("me", &m)
		}
	} else {
		want = []scheduler.Decision{wireDecisions()[name]}
		var m p2pdv1.AttachResponse
		if err = proto.Unmarshal(wire, &m); err == nil {
			got, err = decodeDecisions("me", &m)
		}
	}
	if diff := cmp.Diff(want, got, values); diff != "" || err != nil {
		t.Errorf("understood otherwise: %v\n%s", err, diff)
	}
}
