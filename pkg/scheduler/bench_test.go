package scheduler

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// BenchmarkJoin is a flash crowd: ten thousand peers join the twenty layers of
// one image within a second. Its last metric is what a peer costs in memory
// while all are there.
func BenchmarkJoin(b *testing.B) {
	const peers, layers = 10_000, 20
	l, err := piece.NewLayout(200 << 20)
	if err != nil {
		b.Fatal(err)
	}
	var digests []piece.Digest
	for k := range layers {
		digests = append(digests, piece.Sum([]byte{byte(k)}))
	}
	b.ReportAllocs()
	var s *Scheduler
	empty := heap()
	for b.Loop() {
		s = New(Config{Seed: 1})
		now := time.Unix(0, 0)
		for i := range peers {
			id := PeerID(fmt.Sprintf("peer-%05d", i))
			s.Step(now, PeerUp{Peer: Peer{ID: id, Zone: fmt.Sprint("z", i%3)}})
			j := Join{Peer: id}
			for _, d := range digests {
				j.Blobs = append(j.Blobs, Membership{Digest: d, Size: l.Size(), Have: piece.NewBitfield(l.Count()), Origin: "o"})
			}
			now = now.Add(100 * time.Microsecond)
			s.Step(now, j)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*peers), "ns/peer")
	b.ReportMetric((heap()-empty)/peers, "B/peer")
	runtime.KeepAlive(s)
}

// heap is the bytes in use once all garbage is gone.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
