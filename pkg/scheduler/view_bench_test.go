package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// BenchmarkView is what looking costs the brain, which does nothing else
// meanwhile: ten thousand peers in one swarm, and twenty thousand swarms.
func BenchmarkView(b *testing.B) {
	core, now, large := scheduler.New(scheduler.Config{Seed: 1}), time.Unix(1000, 0), piece.Sum([]byte("large"))
	layout, err := piece.NewLayout(1 << 30)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10_000 {
		id := scheduler.PeerID(fmt.Sprintf("12D3KooW%044d", i*7919%10_000))
		core.Step(now, scheduler.PeerUp{Peer: scheduler.Peer{ID: id, Zone: fmt.Sprint("z", i%3)}})
		blobs := []scheduler.Membership{{Digest: large, Size: layout.Size(), Have: piece.FullBitfield(layout.Count())}}
		for k := range 2 {
			blobs = append(blobs, scheduler.Membership{Digest: piece.Sum(fmt.Append(nil, i, k)), Size: 1, Have: piece.FullBitfield(1)})
		}
		core.Step(now, scheduler.Join{Peer: id, Blobs: blobs})
	}
	for name, look := range map[string]func(){
		"swarms": func() { core.ViewSwarms(scheduler.Page{Limit: scheduler.PageMost}, false) },
		"swarm":  func() { core.ViewSwarm(large, scheduler.Page{Limit: scheduler.PageMost}) },
		"peers":  func() { core.ViewPeers(now, scheduler.Page{Limit: scheduler.PageMost}) },
		"counts": func() { core.ViewCounts(now) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				look()
			}
		})
	}
}
