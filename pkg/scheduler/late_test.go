package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// A warm cluster takes in whoever comes: nodes join one after the other, each
// when the one before has all, and each meets as many neighbours as it should.
func TestLatecomersMeetSeeds(t *testing.T) {
	s := New(Config{Seed: 1})
	now := time.Unix(0, 0)
	d, size := piece.Sum(nil), int64(4<<20)
	for i := range 3000 {
		id := PeerID(fmt.Sprint("peer", i))
		s.Step(now, PeerUp{Peer: Peer{ID: id}})
		met := 0
		for _, dec := range s.Step(now, Join{Peer: id, Blobs: []Membership{{Digest: d, Size: size, Have: piece.NewBitfield(4)}}}) {
			if in, ok := dec.(Introduce); ok && in.To == id {
				met += len(in.Peers)
			}
		}
		if want := min(i, DefaultNeighbours); met < want {
			t.Fatalf("peer %d meets %d of %d seeds, want %d", i, met, i, want)
		}
		now = now.Add(time.Minute)
		s.Step(now, Summary{Peer: id, Blobs: []Progress{{Digest: d, Size: size, Have: piece.FullBitfield(4)}}})
		if err := s.audit(); err != nil {
			t.Fatal(err)
		}
	}
}
