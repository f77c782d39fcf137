package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

func at(s int) time.Time { return time.Unix(1e9+int64(s), 0).UTC() }

func peerOf(i int) scheduler.Peer {
	return scheduler.Peer{ID: scheduler.PeerID(fmt.Sprint("peer-", i)), Node: fmt.Sprint("node-", i), Zone: "z"}
}

// pull is one of an image of so many layers that took so long.
func pull(image string, took time.Duration, layers int) pulls.Record {
	r := pulls.Record{
		Of: pulls.Name{Host: "registry.test", Repo: "team/" + image, Digest: piece.Sum([]byte(image))}, Tag: "1", Began: at(0), Took: took, Outcome: pulls.Complete,
	}
	for i := range layers {
		r.Blobs = append(r.Blobs, pulls.Arrival{Digest: piece.Sum(fmt.Append(nil, i)), Size: 6, First: pulls.Never, Done: took, FromPeers: 3, FromOrigin: 2, FromCache: 1})
	}
	return r
}

// Of an image's pulls the slowest and the latest are shown, and all are counted.
func TestImages(t *testing.T) {
	t.Parallel()
	var l Ledger
	const n = 101
	for i := range n {
		took := time.Duration((i*37)%n) * time.Second // each once, in no order
		l.Take(at(i), peerOf(i), Report{Pulls: []pulls.Record{pull("app", took, 2)}})
	}
	failed := pull("other", time.Second, 1)
	failed.Outcome, failed.Tag = pulls.Failed, ""
	l.Take(at(n), peerOf(0), Report{Pulls: []pulls.Record{failed}, LeftOut: 3})
	images := l.Images(at(n))
	if len(images) != 2 || images[0].Failed != 1 || images[0].Image != "registry.test/team/other@"+failed.Of.Digest.String() {
		t.Fatalf("%+v", images)
	}
	want := api.PulledImage{
		Image: "registry.test/team/app:1", Digest: piece.Sum([]byte("app")).String(), Pulls: n, Complete: n, MedianMillis: 50_000, SlowestMillis: 100_000, SlowestNode: images[1].SlowestNode,
		FromPeers: 6 * n, FromOrigin: 4 * n, FromCache: 2 * n, First: at(0), Last: at(n - 1),
	}
	if diff := cmp.Diff(want, images[1]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	d, ok := l.Image(at(n), piece.Sum([]byte("app")))
	if !ok || len(d.Slowest) != slowestKept || len(d.Latest) != latestKept {
		t.Fatalf("%v: %d and %d", ok, len(d.Slowest), len(d.Latest))
	}
	for i := range slowestKept {
		if d.Slowest[i].Millis != int64(100-i)*1000 || d.Latest[i].Node != fmt.Sprint("node-", n-1-i) {
			t.Errorf("%d: %+v %+v", i, d.Slowest[i], d.Latest[i])
		}
	}
	if d.Slowest[0].Node != d.SlowestNode || d.Slowest[0].Zone != "z" || d.Slowest[0].Blobs[0].FirstMillis != nil || *d.Slowest[0].Blobs[0].DoneMillis != 100_000 {
		t.Errorf("%+v", d.Slowest[0])
	}
	if s := l.Summary(at(n)); s.Images != 2 || s.Pulls != n+1 || s.FailedPulls != 1 || s.LeftOut != 3 || s.Changes != n+1 {
		t.Errorf("%+v", s)
	}
	if _, ok := l.Image(at(n), piece.Sum(nil)); ok {
		t.Error("there is an image that nobody pulled")
	}
}

// What is like what was there is counted with it, by whom it happened to.
func TestIncidents(t *testing.T) {
	t.Parallel()
	var l Ledger
	refusal := Incident{Kind: api.IncidentRefusal, About: "registry.test/app:1", Status: 403, Reason: "denied", Times: 2}
	for i := range nodesNamed + 2 {
		refusal.Last = at(i)
		l.Take(at(100), peerOf(i), Report{Incidents: []Incident{refusal}})
	}
	l.Take(at(101), scheduler.Peer{ID: "nameless"}, Report{Incidents: []Incident{
		{Kind: api.IncidentVerify, About: "sha256:1", Reason: "false", Last: at(500)}, {Kind: "of the future", About: "x"},
	}})
	refusals := l.Incidents(at(102), api.IncidentRefusal)
	if len(refusals) != 1 || refusals[0].Times != 2*(nodesNamed+2) || len(refusals[0].Nodes) != nodesNamed || !refusals[0].MoreNodes ||
		refusals[0].First != at(0) || refusals[0].Last != at(nodesNamed+1) || refusals[0].Status != 403 {
		t.Errorf("%+v", refusals)
	}
	all := l.Incidents(at(102), "")
	if len(all) != 2 || all[0].Kind != api.IncidentVerify || all[0].Last != at(101) || all[0].Times != 1 || all[0].Nodes[0] != "nameless" {
		t.Errorf("%+v", all)
	}
	if s := l.Summary(at(102)); s.Refusals != refusals[0].Times || s.VerifyFailures != 1 {
		t.Errorf("%+v", s)
	}
	all[1].Nodes[0] = "changed"
	if l.Incidents(at(102), api.IncidentRefusal)[0].Nodes[0] == "changed" {
		t.Error("a change of the answer changed the ledger")
	}
}

// Of each node the last run is shown, those that failed first, with how often it
// has gone well.
func TestChecks(t *testing.T) {
	t.Parallel()
	var l Ledger
	well := api.CheckRun{Node: "worker-1", Success: true, Made: 3, Runs: 99, Millis: -1}
	l.Checked(at(1), well)
	ill := well
	ill.Success, ill.Findings = false, []api.CheckFinding{{ID: "p2pd-ready", Error: "Bearer abcdefghij\nx"}}
	l.Checked(at(2), ill)
	l.Take(at(3), peerOf(7), Report{Checks: []api.CheckRun{well}}) // its credential says what it is called
	runs := l.Checks(at(4))
	if len(runs) != 2 || runs[0].Node != "worker-1" || runs[0].Runs != 2 || runs[0].Failures != 1 || !runs[0].LastSuccess.Equal(at(1)) || runs[0].At != at(2) {
		t.Fatalf("%+v", runs)
	}
	if got := runs[0].Findings[0].Error; got != "Bearer [redacted] x" {
		t.Errorf("shown: %q", got)
	}
	if runs[1].Node != "node-7" || runs[1].Peer != "peer-7" || runs[1].Runs != 1 || runs[1].Millis != 0 {
		t.Errorf("%+v", runs[1])
	}
	if s := l.Summary(at(4)); s.Checks != 2 || s.FailedChecks != 1 {
		t.Errorf("%+v", s)
	}
}

// However much is told, and of however much, so much is remembered; and a day later
// none of it.
func TestBounds(t *testing.T) {
	t.Parallel()
	var l Ledger
	for i := range 3 * runsMost {
		r := Report{Checks: []api.CheckRun{{Node: "x"}}}
		if i < 3*imagesMost {
			r.Pulls = []pulls.Record{pull(fmt.Sprint("app ", i), time.Second, 1)}
		}
		r.Incidents = []Incident{{Kind: api.IncidentRefusal, About: fmt.Sprint(i)}, {Kind: api.IncidentVerify, About: fmt.Sprint(i)}}
		l.Take(at(i), peerOf(i), r)
	}
	now := at(3 * runsMost)
	if n := len(l.Images(now)); n != imagesMost {
		t.Errorf("%d images", n)
	}
	if n := len(l.Incidents(now, "")); n != 2*incidentsMost {
		t.Errorf("%d incidents", n)
	}
	if n := len(l.Checks(now)); n != runsMost {
		t.Errorf("%d checks", n)
	}
	for range 2 * tookKept {
		l.Take(now, peerOf(1), Report{Pulls: []pulls.Record{pull("app", time.Second, 1)}})
	}
	if i, _ := l.images.of(piece.Sum([]byte("app"))); len(i.took) != tookKept || cap(i.slowest) > 4*slowestKept || cap(i.latest) > 4*latestKept {
		t.Errorf("%d times, room for %d and %d pulls", len(i.took), cap(i.slowest), cap(i.latest))
	}
	later := now.Add(keptFor + time.Second)
	if s := l.Summary(later); s.Images+s.Refusals+s.VerifyFailures+s.Checks != 0 {
		t.Errorf("a day later: %+v", s)
	}
	if _, ok := l.Image(later, piece.Sum([]byte("app"))); ok {
		t.Error("a day later an image is still there")
	}
}

// What leaves a node has no credential in it, no query, and no more than a line.
func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"get https://cdn.test/blob?X-Amz-Signature=abc&x=1: 403": "get https://cdn.test/blob 403",
		`Get "https://me:pw@r.test/v2/?t=1#f": denied`:           `Get "https://[redacted]@r.test/v2/": denied`,
		"two\nlines\x1b[31m\x00 and\u202e more\xff":              "two lines[31m and more",
		"Authorization: Bearer abcdefghijkl":                     "Authorization: Bearer [redacted]",
	} {
		if got := Clean(text, 100); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := Clean(strings.Repeat("ä", 100), 64); len(got) > 64 || !strings.HasSuffix(got, "ä…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

// What ten thousand nodes tell of one pull within seconds costs the scheduler
// little: run with -bench, it is a few microseconds each.
func BenchmarkTake(b *testing.B) {
	var l Ledger
	r := Report{Pulls: []pulls.Record{pull("app", time.Second, 20)}}
	for i := 0; b.Loop(); i++ {
		l.Take(at(i/1000), peerOf(i%10_000), r)
	}
}
