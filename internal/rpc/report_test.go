package rpc

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// told is what a server hands on of a report.
type told struct {
	from scheduler.Peer
	r    ledger.Report
}

// What a peer tells arrives with who it is, and the core hears nothing of it; of
// one that tells too much some is left out, and its stream goes on.
func TestReports(t *testing.T) {
	t.Parallel()
	c := newCore()
	ch := make(chan told, 100)
	s, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: c, Report: func(_ time.Time, from scheduler.Peer, r ledger.Report) { ch <- told{from, r} }})
	h, client, halt := dial(t, addr, "a")
	sched := next(t, "stream", h.attached)
	expect[scheduler.PeerUp](t, c)
	want := wireReports()["check report"]
	if !client.Report(want) {
		t.Fatal("there is no room for a report")
	}
	if got := next(t, "report", ch); got.from.ID != "a" || got.from.Zone != "z" || !cmp.Equal(got.r, want) {
		t.Errorf("%+v", got)
	}
	for range 3 * reportsBurst {
		for !client.Report(want) { // its queue is short in this test
			time.Sleep(time.Millisecond)
		}
	}
	sched.Send(scheduler.Leave{Peer: "a"})
	expect[scheduler.Leave](t, c) // what was sent before has been read
	if st := s.Stats(); st.Excess == 0 || st.Events["report"]+st.Excess != 3*reportsBurst+1 || st.Events["report"] < reportsBurst || st.Malformed != 0 {
		t.Errorf("%+v", st)
	}
	halt()
	if client.Report(want) {
		t.Error("it was taken without a stream")
	}
}

// All schedulers of a cluster hear of it, and none is told where there is none.
func TestReportsGoToAll(t *testing.T) {
	t.Parallel()
	f := NewFleet(FleetConfig{Client: ClientConfig{}})
	if f.Report(ledger.Report{LeftOut: 1}) {
		t.Error("somebody was told")
	}
	to := make(map[string]*line)
	for _, name := range []string{"a", "b"} {
		cl := NewClient(ClientConfig{})
		cl.out.Store(&outbox{queue: newQueue[parcel](2), dropped: &cl.dropped})
		to[name] = &line{voice: &voice{client: cl}, name: name}
	}
	f.routes.Store(&routes{names: []string{"a", "b"}, to: to})
	if !f.Report(ledger.Report{LeftOut: 1}) {
		t.Error("nobody was told")
	}
	for name, l := range to {
		out := l.voice.client.out.Load()
		got, err := out.take(t.Context())
		if err != nil || len(got) != 1 || got[0].report.LeftOut != 1 {
			t.Errorf("%s was told %+v, %v", name, got, err)
		}
		// What peers need of each other goes before what people like to see.
		l.voice.client.Report(ledger.Report{})
		for range 2 {
			out.Send(scheduler.Leave{})
		}
		if got, err := out.take(t.Context()); err != nil || len(got) != 2 || got[0].report != nil || got[1].report != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// ofReport is a message with one report.
func ofReport(r *p2pdv1.Report) *p2pdv1.AttachRequest {
	return &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Report{Report: r}}
}

// What does not fit is refused with an error that names the field; what is more
// than is taken, and kinds of the future, are left out.
func TestMalformedReports(t *testing.T) {
	t.Parallel()
	pull := func(change func(p *p2pdv1.ImagePull)) *p2pdv1.Report {
		p := encodePull(&wireReports()["pull report"].Pulls[0], wireNow())
		change(p)
		return &p2pdv1.Report{Pulls: []*p2pdv1.ImagePull{p}}
	}
	incident := func(i *p2pdv1.Incident) *p2pdv1.Report { return &p2pdv1.Report{Incidents: []*p2pdv1.Incident{i}} }
	run := func(c *p2pdv1.CheckRun) *p2pdv1.Report { return &p2pdv1.Report{Checks: []*p2pdv1.CheckRun{c}} }
	for field, m := range map[string]*p2pdv1.Report{
		"pulls[0].registry":             pull(func(p *p2pdv1.ImagePull) { p.Registry = "" }),
		"pulls[0].repository":           pull(func(p *p2pdv1.ImagePull) { p.Repository = large }),
		"pulls[0].tag":                  pull(func(p *p2pdv1.ImagePull) { p.Tag = large }),
		"pulls[0].digest":               pull(func(p *p2pdv1.ImagePull) { p.Digest = good[1:] }),
		"pulls[0].age_ms":               pull(func(p *p2pdv1.ImagePull) { p.AgeMs = 1 << 62 }),
		"pulls[0].outcome":              pull(func(p *p2pdv1.ImagePull) { p.Outcome = 0 }),
		"pulls[0].manifest_ms":          pull(func(p *p2pdv1.ImagePull) { p.ManifestMs = -1 }),
		"pulls[0].took_ms":              pull(func(p *p2pdv1.ImagePull) { p.TookMs = -1 }),
		"pulls[0].held":                 pull(func(p *p2pdv1.ImagePull) { p.Held = -1 }),
		"pulls[0].blobs:":               pull(func(p *p2pdv1.ImagePull) { p.Blobs = make([]*p2pdv1.PulledBlob, ledger.BlobsMost+1) }),
		"pulls[0].blobs[1].digest":      pull(func(p *p2pdv1.ImagePull) { p.Blobs[1] = nil }),
		"pulls[0].blobs[0].asked_ms":    pull(func(p *p2pdv1.ImagePull) { p.Blobs[0].AskedMs = -1 }),
		"pulls[0].blobs[0].first_ms":    pull(func(p *p2pdv1.ImagePull) { p.Blobs[0].FirstMs = proto.Int64(-1) }),
		"pulls[0].blobs[0].done_ms":     pull(func(p *p2pdv1.ImagePull) { p.Blobs[0].DoneMs = proto.Int64(-1) }),
		"pulls[0].blobs[0].from_origin": pull(func(p *p2pdv1.ImagePull) { p.Blobs[0].FromOrigin = -1 }),
		"incidents[0].about":            incident(&p2pdv1.Incident{Kind: 1, About: large}),
		"incidents[0].reason":           incident(&p2pdv1.Incident{Kind: 1, Reason: large}),
		"incidents[0].times":            incident(&p2pdv1.Incident{Kind: 1, Times: -1}),
		"incidents[0].age_ms":           incident(&p2pdv1.Incident{Kind: 1, AgeMs: -1}),
		"checks[0].findings":            run(&p2pdv1.CheckRun{Findings: make([]*p2pdv1.CheckFinding, ledger.FindingsMost+1)}),
		"checks[0].took_ms":             run(&p2pdv1.CheckRun{PullMs: -1}),
		"checks[0].error":               run(&p2pdv1.CheckRun{Findings: []*p2pdv1.CheckFinding{{Error: large}}}),
		"left_out":                      {LeftOut: -1},
	} {
		if _, err := decodeReport(m, wireNow()); err == nil || !strings.HasPrefix(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	future := &p2pdv1.Report{Incidents: []*p2pdv1.Incident{{Kind: 99, About: "x"}}}
	for range ledger.PullsMost + 3 {
		future.Pulls = append(future.Pulls, pull(func(*p2pdv1.ImagePull) {}).GetPulls()...)
	}
	if r, err := decodeReport(future, wireNow()); err != nil || len(r.Pulls) != ledger.PullsMost || len(r.Incidents) != 0 {
		t.Errorf("of a later version: %d pulls, %d incidents, %v", len(r.Pulls), len(r.Incidents), err)
	}
}

// A malformed report ends its stream, as any message does.
func TestAMalformedReportEndsTheStream(t *testing.T) {
	t.Parallel()
	s, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
	g := attachRaw(t, addr, "a")
	if err := g.Send(ofReport(&p2pdv1.Report{LeftOut: -1})); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Recv(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "report.left_out") || s.Stats().Malformed != 1 {
		t.Errorf("the stream ended with %v", err)
	}
}

// Nothing in a report panics, and what is understood can be told again.
func FuzzDecodeReport(f *testing.F) {
	for _, r := range wireReports() {
		b, err := proto.Marshal(encodeReport(&r, wireNow()).GetReport())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m p2pdv1.Report
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		r, err := decodeReport(&m, wireNow())
		if err != nil {
			return
		}
		again, err := decodeReport(encodeReport(&r, wireNow()).GetReport(), wireNow())
		if diff := cmp.Diff(r, again); diff != "" || err != nil {
			t.Errorf("told again it is another: %v\n%s", err, diff)
		}
		var l ledger.Ledger
		l.Take(wireNow(), scheduler.Peer{ID: "a"}, r)
	})
}

// All that is sent of an outcome and a kind is understood.
func TestNumbersOnTheWire(t *testing.T) {
	t.Parallel()
	for n, o := range outcomes() {
		if numberOf(outcomes(), o) != n || n == 0 {
			t.Errorf("%s is %d", o, n)
		}
	}
	if n := numberOf(outcomes(), pulls.Outcome("none")); n != 0 {
		t.Errorf("an outcome of nothing is %d", n)
	}
}
