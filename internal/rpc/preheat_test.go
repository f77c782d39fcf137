package rpc

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

var (
	drawJob = rapid.Map(rapid.Int64Range(1, scheduler.PreheatJobMost), func(n int64) scheduler.PreheatJob { return scheduler.PreheatJob(n) })

	drawPreheat = rapid.Custom(func(t *rapid.T) scheduler.Preheat {
		d := scheduler.Preheat{
			To: "me", Job: drawJob.Draw(t, "job"), Registry: rapid.StringN(1, -1, maxText).Draw(t, "registry"),
			Repository: rapid.StringN(1, -1, maxRepository).Draw(t, "repository"), Bereft: rapid.Bool().Draw(t, "bereft"),
			Authorization: secret.New(rapid.StringN(0, -1, 300).Draw(t, "authorization")), Reason: rapid.StringN(0, -1, maxReason).Draw(t, "reason"),
		}
		d.Unpack, d.Login = rapid.StringN(0, -1, 128).Draw(t, "unpack"), secret.New(rapid.StringN(0, -1, 300).Draw(t, "login"))
		for range rapid.IntRange(0, 3).Draw(t, "blobs") {
			d.Blobs = append(d.Blobs, scheduler.PreheatBlob{
				Digest: drawDigest.Draw(t, "digest"), Size: rapid.Int64Range(0, 1<<40).Draw(t, "size"), Manifest: rapid.Bool().Draw(t, "manifest"),
			})
		}
		return d
	})

	drawPreheatReport = rapid.Custom(func(t *rapid.T) scheduler.PreheatReport {
		return scheduler.PreheatReport{
			Peer: "me", Job: drawJob.Draw(t, "job"), Blobs: rapid.IntRange(0, maxBlobs).Draw(t, "blobs"), Bytes: drawBytes.Draw(t, "bytes"),
			State:  rapid.SampledFrom([]scheduler.PreheatState{scheduler.PreheatFetching, scheduler.PreheatDone, scheduler.PreheatFailed}).Draw(t, "state"),
			Failed: drawDigest.Draw(t, "failed"), Error: rapid.StringN(0, -1, maxReason).Draw(t, "error"), Unpacking: rapid.Bool().Draw(t, "unpacking"),
		}
	})
)

// What no scheduler and no peer would say about jobs is refused.
func TestMalformedPreheats(t *testing.T) {
	t.Parallel()
	good := scheduler.Preheat{Job: 1, Registry: "registry.test", Repository: "a/b", Blobs: []scheduler.PreheatBlob{{Size: 1}}}
	for name, spoil := range map[string]func(*p2pdv1.Preheat){
		"no job":        func(p *p2pdv1.Preheat) { p.Job = 0 },
		"a large job":   func(p *p2pdv1.Preheat) { p.Job = 1 << 53 },
		"no registry":   func(p *p2pdv1.Preheat) { p.Registry = "" },
		"no repository": func(p *p2pdv1.Preheat) { p.Repository = "" },
		"short digest":  func(p *p2pdv1.Preheat) { p.Blobs[0].Digest = []byte{1} },
		"negative size": func(p *p2pdv1.Preheat) { p.Blobs[0].Size = -1 },
		"long secret":   func(p *p2pdv1.Preheat) { p.Authorization = string(make([]byte, maxAuthorization+1)) },
		"long login":    func(p *p2pdv1.Preheat) { p.Login = string(make([]byte, maxAuthorization+1)) },
		"long tag":      func(p *p2pdv1.Preheat) { p.Unpack = large },
		"many blobs":    func(p *p2pdv1.Preheat) { p.Blobs = make([]*p2pdv1.PreheatBlob, maxBlobs+1) },
		"long reason":   func(p *p2pdv1.Preheat) { p.Reason = string(make([]byte, maxReason+1)) },
	} {
		p := encodePreheat(good)
		if _, err := decodePreheat(p); err != nil {
			t.Fatal(err)
		}
		spoil(p)
		if d, err := decodePreheat(p); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	for name, r := range map[string]*p2pdv1.PreheatReport{
		"no job":         {State: 1},
		"no state":       {Job: 1},
		"unknown state":  {Job: 1, State: 4},
		"negative blobs": {Job: 1, State: 1, Blobs: -1},
		"negative bytes": {Job: 1, State: 1, Bytes: -1},
		"short digest":   {Job: 1, State: 3, Failed: []byte{1}},
		"long error":     {Job: 1, State: 3, Error: string(make([]byte, maxReason+1))},
	} {
		if got, err := decodePreheatReport(r); err == nil {
			t.Errorf("report, %s: %+v", name, got)
		}
	}
}

// silent is an engine that has nothing to say.
type silent struct{}

func (silent) Attached(peer.Scheduler)       {}
func (silent) Detached()                     {}
func (silent) Decide(scheduler.Decision)     {}
func (silent) Moved(func(piece.Digest) bool) {}

// A job reaches a peer of a fleet past its engine, and what the peer reports the
// one who asked; the brain hears of neither.
func TestPreheatsPassTheBrainBy(t *testing.T) {
	reports := make(chan scheduler.PreheatReport, 1)
	s := NewServer(ServerConfig{Core: scheduler.New(scheduler.Config{Seed: 1}), Preheat: func(r scheduler.PreheatReport) { reports <- r }})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	jobs := make(chan scheduler.Decision, 1)
	f := NewFleet(FleetConfig{
		Doors: []string{l.Addr().String()}, Handler: silent{}, Preheat: func(d scheduler.Decision) { jobs <- d },
		Client: ClientConfig{Self: scheduler.Peer{ID: "me", Platform: "linux/riscv64"}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	served, followed := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Run(ctx, l) }()
	go func() { followed <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-followed; err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for f.Schedulers() == 0 {
		if ctx.Err() != nil {
			t.Fatal("the peer does not attach")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if peers, err := s.Peers(ctx); err != nil || len(peers) != 1 || peers[0].Platform != "linux/riscv64" {
		t.Errorf("peers: %+v, %v", peers, err)
	}
	job := scheduler.Preheat{To: "me", Job: 7, Registry: "registry.test", Repository: "a/b", Authorization: secret.New("Bearer x")}
	s.Pass([]scheduler.Decision{job})
	select {
	case got := <-jobs:
		if diff := cmp.Diff(scheduler.Decision(job), got, values); diff != "" {
			t.Errorf("job (-want +got):\n%s", diff)
		}
	case <-ctx.Done():
		t.Fatal("the job does not arrive")
	}
	report := scheduler.PreheatReport{Peer: "me", Job: 7, State: scheduler.PreheatFailed, Error: "no"}
	f.Send(report)
	select {
	case got := <-reports:
		if diff := cmp.Diff(report, got); diff != "" {
			t.Errorf("report (-want +got):\n%s", diff)
		}
	case <-ctx.Done():
		t.Fatal("the report does not arrive")
	}
}
