package scheduler

import (
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// A peer whose stream has ended leaves its swarms one by one. The lease that it
// frees in one must not go to it in another, which it has yet to leave.
func TestWhoIsGoneIsGivenNothing(t *testing.T) {
	s := New(Config{Seed: 1, LeasesPerHost: 1})
	now := time.Unix(1000, 0)
	step := func(e Event) []Decision { return s.Step(now, e) }
	first, second := piece.Sum([]byte{1}), piece.Sum([]byte{2})
	step(PeerUp{Peer: Peer{ID: "stays"}})
	step(Join{Peer: "stays", Blobs: []Membership{{Digest: second, Size: SizeUnknown}}})
	step(PeerUp{Peer: Peer{ID: "goes"}})
	var lease LeaseID
	for _, d := range step(Join{Peer: "goes", Blobs: []Membership{{Digest: first, Size: SizeUnknown, Origin: "o"}}}) {
		if g, ok := d.(Grant); ok {
			lease = g.Lease.ID
		}
	}
	step(Join{Peer: "goes", Blobs: []Membership{{Digest: second, Size: SizeUnknown, Origin: "o"}}}) // the host bears no more
	step(LeaseEnd{Peer: "goes", Digest: first, Lease: lease, Outcome: Failed})
	now = now.Add(2 * time.Second)
	step(Tick{})
	for _, d := range step(PeerDown{Peer: "goes"}) {
		if d.Recipient() == "goes" {
			t.Errorf("told who is gone: %#v", d)
		}
	}
	if err := s.audit(); err != nil {
		t.Error(err)
	}
}
