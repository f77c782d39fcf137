package scheduler

import (
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Who comes back in another zone loses the leases of all its blobs before any is given
// again: else what the first leaves of the registry's budget goes to somebody of that
// zone for a blob of which it still has one.
func TestWhoMovesLosesAllLeasesFirst(t *testing.T) {
	t.Parallel()
	s := New(Config{Seed: 1, OriginNearer: true, LeasesPerHost: 2, LeasesPerPeer: 2})
	now := time.Unix(1000, 0)
	join := func(p PeerID, blobs ...string) {
		j := Join{Peer: p}
		for _, b := range blobs {
			j.Blobs = append(j.Blobs, Membership{Digest: piece.Sum([]byte(b)), Size: SizeUnknown, Origin: "o"})
		}
		s.Step(now, j)
	}
	s.Step(now, PeerUp{Peer: Peer{ID: "mover", Zone: "old"}})
	s.Step(now, PeerUp{Peer: Peer{ID: "stays", Zone: "new"}})
	join("mover", "one", "two")
	if n := s.peers["mover"].leases; n != 2 {
		t.Fatalf("it has %d leases, want 2", n)
	}
	join("stays", "two")
	lost := 0
	for _, d := range s.Step(now, PeerUp{Peer: Peer{ID: "mover", Zone: "new"}}) {
		switch d := d.(type) {
		case Revoke:
			lost++
		case Grant:
			if lost < 2 {
				t.Errorf("%s is given a lease when the mover has lost %d of 2", d.To, lost)
			}
		}
	}
	if lost != 2 {
		t.Errorf("it lost %d leases, want 2", lost)
	}
}
