package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// However much is fetched for nobody, a pull that somebody waits for gets its
// leases at once; and one that somebody comes to wait for is patient no more.
func TestPatientMembersLeaveRoom(t *testing.T) {
	t.Parallel()
	s := New(Config{Seed: 1})
	now := time.Unix(1000, 0)
	const size = 1 << 30
	layout, err := piece.NewLayout(size)
	if err != nil {
		t.Fatal(err)
	}
	join := func(peer PeerID, blob byte, patient bool) {
		now = now.Add(100 * time.Millisecond) // all together less than a lease lasts without a byte
		s.Step(now, PeerUp{Peer: Peer{ID: peer}})
		s.Step(now, Join{Peer: peer, Blobs: []Membership{{
			Digest: piece.Sum([]byte{blob}), Size: size, Have: piece.NewBitfield(layout.Count()), Origin: "o", Patient: patient,
		}}})
		s.Step(now, Tick{})
	}
	for i := range byte(10) {
		join(PeerID(fmt.Sprint("patient-", i)), i, true)
	}
	if got, want := s.hosts["o"].leases, DefaultLeasesPerHost*3/4; got != want {
		t.Errorf("the patient have %d leases, want %d", got, want)
	}
	join("waits", 100, false)
	if n := s.peers["waits"].leases; n == 0 {
		t.Error("who waits has no lease")
	}
	before := s.peers["patient-9"].leases
	join("patient-9", 9, true)
	if n := s.peers["patient-9"].leases; n > before {
		t.Errorf("a patient one has %d leases more, of what is left for others", n-before)
	}
	join("patient-9", 9, false)
	if m := s.member("patient-9", piece.Sum([]byte{9})); s.hostBears(m) != DefaultLeasesPerHost {
		t.Error("somebody waits for it now, and it is patient still")
	}
	if err := s.audit(); err != nil {
		t.Error(err)
	}
}
