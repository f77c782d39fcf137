package scheduler

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

func numbered(i int) piece.Digest {
	return piece.Sum(binary.BigEndian.AppendUint32(nil, uint32(i)))
}

// A peer that is in too many swarms leaves the ones that it has longest whole;
// what it downloads it keeps, and past that nobody is told of it.
func TestMembershipsAreBounded(t *testing.T) {
	s := New(Config{MaxMemberships: 4})
	now := time.Unix(0, 0)
	s.Step(now, PeerUp{Peer: Peer{ID: "a"}})
	join := func(i int, have piece.Bitfield) {
		s.Step(now, Join{Peer: "a", Blobs: []Membership{{Digest: numbered(i), Size: 1 << 20, Have: have, Origin: "o"}}})
		if err := s.audit(); err != nil {
			t.Fatal(err)
		}
		if n := s.Stats().Members; n > 4 {
			t.Fatalf("it is in %d swarms", n)
		}
	}
	in := func(i int) bool { return s.member("a", numbered(i)) != nil }
	for i := range 3 {
		join(i, piece.FullBitfield(1))
	}
	for i := 3; i < 7; i++ {
		join(i, piece.NewBitfield(1))
	}
	for i := range 7 {
		if in(i) != (i >= 3) {
			t.Errorf("in swarm %d: %v", i, in(i))
		}
	}
	join(7, piece.FullBitfield(1))
	join(8, piece.NewBitfield(1))
	if in(7) || in(8) || s.Stats().Crowded != 5 {
		t.Errorf("in: %v, %v; %d crowded", in(7), in(8), s.Stats().Crowded)
	}
	join(6, piece.NewBitfield(1)) // again is no new one
	if !in(6) {
		t.Error("it lost one that it joined again")
	}
}

// Registries that peers name are forgotten once nobody reads from them, but not
// what was read there; and there is an end to those that are read from.
func TestHostsAreBounded(t *testing.T) {
	s := New(Config{})
	now := time.Unix(0, 0)
	peers := 3 * maxHosts / DefaultLeasesPerPeer
	read := func(p, i int, end bool) bool {
		id := PeerID(fmt.Sprint("p", p))
		s.Step(now, PeerUp{Peer: Peer{ID: id}})
		granted := false
		for _, d := range s.Step(now, Join{Peer: id, Blobs: []Membership{{Digest: numbered(i), Size: 1 << 20, Have: piece.NewBitfield(1), Origin: fmt.Sprint("host", i)}}}) {
			if g, ok := d.(Grant); ok {
				granted = true
				if end {
					now = now.Add(time.Second)
					s.Step(now, Summary{Peer: id, Blobs: []Progress{{Digest: g.Digest, Size: SizeUnknown, Leases: []LeaseBytes{{ID: g.Lease.ID, Bytes: 1 << 20}}}}})
					s.Step(now, LeaseEnd{Peer: id, Digest: g.Digest, Lease: g.Lease.ID, Outcome: Done})
				}
			}
		}
		if n := s.Stats().Hosts; n > maxHosts {
			t.Fatalf("%d hosts are remembered", n)
		}
		return granted
	}
	last := int64(0)
	for i := range maxHosts + 10 {
		if !read(i, i, true) {
			t.Fatalf("host %d is not read from", i)
		}
		if n := s.Stats().FromOrigin; n < last {
			t.Fatalf("%d bytes came from origins, before it were %d", n, last)
		} else {
			last = n
		}
	}
	granted := 0
	for i := range 2 * maxHosts {
		if read(maxHosts+10+i%peers, 2*maxHosts+i, false) {
			granted++
		}
	}
	if granted != maxHosts {
		t.Errorf("%d hosts are read from at once, want %d", granted, maxHosts)
	}
	if err := s.audit(); err != nil {
		t.Fatal(err)
	}
}

// Those that lie about everybody have few banned, however they share the blames out, and
// are remembered when they come back: a ban takes the word of two, and each is believed
// thrice.
func TestLiarsBanFew(t *testing.T) {
	t.Parallel()
	for k := 2; k <= 7; k++ {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			t.Parallel()
			liarsBanFew(t, k)
		})
	}
}

func liarsBanFew(t *testing.T, k int) {
	s := New(Config{})
	now := time.Unix(0, 0)
	d := numbered(1)
	join := func(id PeerID) {
		s.Step(now, PeerUp{Peer: Peer{ID: id}})
		s.Step(now, Join{Peer: id, Blobs: []Membership{{Digest: d, Size: 1 << 20, Have: piece.FullBitfield(1)}}})
	}
	for i := range 20 {
		join(PeerID(fmt.Sprint("p", i)))
	}
	liar := func(i int) PeerID { return PeerID(fmt.Sprint("liar", i%k)) }
	blame := func(by PeerID, i int) {
		join(by)
		s.Step(now, Blame{Peer: by, Neighbour: PeerID(fmt.Sprint("p", i)), Digest: d, Fault: False})
		s.Step(now, PeerDown{Peer: by})
	}
	for i := range 20 { // those who have been believed least often come first: none of what they may say is wasted
		blame(liar(2*i), i)
		blame(liar(2*i+1), i)
		now = now.Add(time.Second)
	}
	most := k * blamesMost / accusersNeeded
	st := s.Stats()
	if st.Banned != int64(most) || st.DoubtfulBlames != int64(2*20-k*blamesMost) {
		t.Errorf("%d are banned and %d blames are not believed, want %d", st.Banned, st.DoubtfulBlames, most)
	}
	now = now.Add(doubtFor)
	blame(liar(0), 19)
	if s.Stats().DoubtfulBlames != st.DoubtfulBlames {
		t.Error("it is not believed when its blames are long over")
	}
}
