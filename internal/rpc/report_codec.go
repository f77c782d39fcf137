package rpc

import (
	"fmt"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/pulls"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// outcomes are those of pulls, by their number on the wire.
func outcomes() map[p2pdv1.PullOutcome]pulls.Outcome {
	return map[p2pdv1.PullOutcome]pulls.Outcome{
		p2pdv1.PullOutcome_PULL_OUTCOME_COMPLETE: pulls.Complete,
		p2pdv1.PullOutcome_PULL_OUTCOME_FAILED:   pulls.Failed,
		p2pdv1.PullOutcome_PULL_OUTCOME_PARTIAL:  pulls.Partial,
	}
}

// incidentKinds are those of incidents; others are not known here.
func incidentKinds() map[p2pdv1.IncidentKind]string {
	return map[p2pdv1.IncidentKind]string{
		p2pdv1.IncidentKind_INCIDENT_KIND_REFUSAL: api.IncidentRefusal,
		p2pdv1.IncidentKind_INCIDENT_KIND_VERIFY:  api.IncidentVerify,
	}
}

// numberOf is what stands for a value on the wire; 0 if nothing does.
func numberOf[N ~int32, V comparable](all map[N]V, v V) (n N) {
	for k, one := range all {
		if one == v {
			return k
		}
	}
	return n
}

func encodePull(r *pulls.Record, now time.Time) *p2pdv1.ImagePull {
	p := &p2pdv1.ImagePull{
		Registry: r.Of.Host, Repository: r.Of.Repo, Tag: r.Tag, Digest: r.Of.Digest[:], AgeMs: encodeAge(r.Began, now),
		ManifestMs: max(0, r.Manifest.Milliseconds()), TookMs: max(0, r.Took.Milliseconds()), Outcome: numberOf(outcomes(), r.Outcome),
		Held: encodeCount(r.Held), More: encodeCount(r.More),
	}
	for _, b := range r.Blobs[:min(len(r.Blobs), ledger.BlobsMost)] {
		p.Blobs = append(p.Blobs, &p2pdv1.PulledBlob{
			Digest: b.Digest[:], Size: b.Size, AskedMs: max(0, b.Asked.Milliseconds()), FirstMs: encodeAfter(b.First), DoneMs: encodeAfter(b.Done),
			FromPeers: b.FromPeers, FromOrigin: b.FromOrigin, FromCache: b.FromCache,
		})
	}
	return p
}

func decodePull(p *p2pdv1.ImagePull, now time.Time) (r pulls.Record, err error) {
	for _, f := range [][2]string{{"registry", p.GetRegistry()}, {"repository", p.GetRepository()}} {
		if _, err := decodeID(f[0], f[1]); err != nil {
			return r, err
		}
	}
	r.Of.Host, r.Of.Repo = p.GetRegistry(), p.GetRepository()
	if r.Tag, err = decodeText("tag", p.GetTag()); err != nil {
		return r, err
	}
	if r.Of.Digest, err = decodeDigest("digest", p.GetDigest()); err != nil {
		return r, err
	}
	if r.Began, err = decodeAge(p.GetAgeMs(), now); err != nil {
		return r, err
	}
	if r.Outcome = outcomes()[p.GetOutcome()]; r.Outcome == "" {
		return r, bad("outcome", "%d", p.GetOutcome())
	}
	if r.Manifest, err = decodeMillis("manifest_ms", p.GetManifestMs()); err != nil {
		return r, err
	}
	if r.Took, err = decodeMillis("took_ms", p.GetTookMs()); err != nil {
		return r, err
	}
	if p.GetHeld() < 0 || p.GetMore() < 0 {
		return r, bad("held", "%d, and %d more", p.GetHeld(), p.GetMore())
	}
	r.Held, r.More = int(p.GetHeld()), int(p.GetMore())
	if err := atMost("blobs", len(p.GetBlobs()), ledger.BlobsMost); err != nil {
		return r, err
	}
	r.Blobs = make([]pulls.Arrival, 0, len(p.GetBlobs()))
	for i, b := range p.GetBlobs() {
		one, err := decodePulled(b)
		if err != nil {
			return r, in(fmt.Sprintf("blobs[%d]", i), err)
		}
		r.Blobs = append(r.Blobs, one)
	}
	return r, nil
}

func decodePulled(b *p2pdv1.PulledBlob) (a pulls.Arrival, err error) {
	if a.Digest, err = decodeDigest("digest", b.GetDigest()); err != nil {
		return a, err
	}
	a.Size, a.First, a.Done = max(-1, b.GetSize()), pulls.Never, pulls.Never
	if a.Asked, err = decodeMillis("asked_ms", b.GetAskedMs()); err != nil {
		return a, err
	}
	if b.FirstMs != nil {
		if a.First, err = decodeMillis("first_ms", b.GetFirstMs()); err != nil {
			return a, err
		}
	}
	if b.DoneMs != nil {
		if a.Done, err = decodeMillis("done_ms", b.GetDoneMs()); err != nil {
			return a, err
		}
	}
	for _, n := range []struct {
		field string
		got   int64
		to    *int64
	}{{"from_peers", b.GetFromPeers(), &a.FromPeers}, {"from_origin", b.GetFromOrigin(), &a.FromOrigin}, {"from_cache", b.GetFromCache(), &a.FromCache}} {
		if *n.to, err = decodeBytes(n.field, n.got); err != nil {
			return a, err
		}
	}
	return a, nil
}

func encodeIncident(one ledger.Incident, now time.Time) *p2pdv1.Incident {
	return &p2pdv1.Incident{
		Kind: numberOf(incidentKinds(), one.Kind), About: one.About, Status: encodeCount(one.Status), Reason: one.Reason, Advice: one.Advice,
		Times: encodeCount(one.Times), AgeMs: encodeAge(one.Last, now),
	}
}

// decodeIncident takes one; its Kind is empty if it is not known here.
func decodeIncident(m *p2pdv1.Incident, now time.Time) (one ledger.Incident, err error) {
	for _, f := range [][2]string{{"about", m.GetAbout()}, {"reason", m.GetReason()}, {"advice", m.GetAdvice()}} {
		if _, err := decodeText(f[0], f[1]); err != nil {
			return one, err
		}
	}
	if m.GetTimes() < 0 || m.GetStatus() < 0 {
		return one, bad("times", "%d, with status %d", m.GetTimes(), m.GetStatus())
	}
	one = ledger.Incident{
		Kind: incidentKinds()[m.GetKind()], About: m.GetAbout(), Status: int(m.GetStatus()), Reason: m.GetReason(), Advice: m.GetAdvice(), Times: int(m.GetTimes()),
	}
	one.Last, err = decodeAge(m.GetAgeMs(), now)
	return one, err
}

func encodeCheckRun(run *api.CheckRun) *p2pdv1.CheckRun {
	m := &p2pdv1.CheckRun{
		Node: run.Node, TookMs: run.Millis, EveryS: run.EverySeconds, Success: run.Success, Made: encodeCount(run.Made),
		Image: run.Image, PullMs: run.PullMillis, StartMs: run.StartMillis,
	}
	for _, f := range run.Findings[:min(len(run.Findings), ledger.FindingsMost)] {
		m.Findings = append(m.Findings, &p2pdv1.CheckFinding{
			Id: f.ID, Category: f.Category, Description: f.Description, Result: f.Result, Error: f.Error, Hint: f.Hint,
		})
	}
	return m
}

func decodeCheckRun(m *p2pdv1.CheckRun) (run api.CheckRun, err error) {
	if err := atMost("findings", len(m.GetFindings()), ledger.FindingsMost); err != nil {
		return run, err
	}
	if m.GetTookMs() < 0 || m.GetEveryS() < 0 || m.GetMade() < 0 || m.GetPullMs() < 0 || m.GetStartMs() < 0 {
		return run, bad("took_ms", "it, every_s, made, pull_ms or start_ms is negative")
	}
	texts := [][2]string{{"node", m.GetNode()}, {"image", m.GetImage()}}
	run = api.CheckRun{
		Node: m.GetNode(), Millis: m.GetTookMs(), EverySeconds: m.GetEveryS(), Success: m.GetSuccess(), Made: int(m.GetMade()),
		Image: m.GetImage(), PullMillis: m.GetPullMs(), StartMillis: m.GetStartMs(), Findings: make([]api.CheckFinding, 0, len(m.GetFindings())),
	}
	for _, f := range m.GetFindings() {
		texts = append(texts, [2]string{"id", f.GetId()}, [2]string{"category", f.GetCategory()}, [2]string{"description", f.GetDescription()},
			[2]string{"result", f.GetResult()}, [2]string{"error", f.GetError()}, [2]string{"hint", f.GetHint()})
		run.Findings = append(run.Findings, api.CheckFinding{
			ID: f.GetId(), Category: f.GetCategory(), Description: f.GetDescription(), Result: f.GetResult(), Error: f.GetError(), Hint: f.GetHint(),
		})
	}
	for _, f := range texts {
		if _, err := decodeText(f[0], f[1]); err != nil {
			return run, err
		}
	}
	return run, nil
}

// encodeAge is how long ago something was, encodeAfter when after a beginning;
// nil for pulls.Never.
func encodeAge(at, now time.Time) int64 { return min(max(now.Sub(at), 0), maxAge).Milliseconds() }

func decodeAge(ms int64, now time.Time) (time.Time, error) {
	d, err := decodeMillis("age_ms", ms)
	return now.Add(-d), err
}

func encodeAfter(d time.Duration) *int64 {
	if d < 0 {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}

func decodeMillis(field string, ms int64) (time.Duration, error) {
	if ms < 0 || ms > maxAge.Milliseconds() {
		return 0, bad(field, "%d, 0 to %d are allowed", ms, maxAge.Milliseconds())
	}
	return time.Duration(ms) * time.Millisecond, nil
}

func encodeCount(n int) int32 { return int32(min(max(n, 0), 1<<30)) } //nolint:gosec // it is bounded
