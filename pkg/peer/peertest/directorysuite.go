package peertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Seat is one peer's way to a directory, and who it is.
type Seat struct {
	Self      scheduler.Peer
	Directory peer.Directory
}

// TestDirectory is what every directory must do. seats makes so many peers that
// know of each other, or will at once.
func TestDirectory(t *testing.T, seats func(t *testing.T, n int) []Seat) {
	for name, test := range map[string]func(*testing.T, []Seat){
		"who announces is found":             testFound,
		"keys are apart":                     testKeysApart,
		"all at once":                        testAllAtOnce,
		"no more than asked for":             testMost,
		"what is over is said so":            testOver,
		"an answer says where the peers are": testWhere,
	} {
		t.Run(name, func(t *testing.T) { test(t, seats(t, 5)) })
	}
}

const (
	// suitePatience bounds every wait; nothing that works comes near it.
	suitePatience = 20 * time.Second
	suiteAgain    = 5 * time.Millisecond
)

func suiteKey(name string) peer.Key { return peer.Key{Digest: piece.Sum([]byte(name))} }

func announce(t *testing.T, s Seat, k peer.Key) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), suitePatience)
	defer cancel()
	if err := s.Directory.Announce(ctx, k); err != nil {
		t.Errorf("%s announces: %v", s.Self.ID, err)
	}
}

func find(t *testing.T, s Seat, k peer.Key, most int) []scheduler.PeerID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), suitePatience)
	defer cancel()
	found, err := s.Directory.Find(ctx, k, most)
	if err != nil {
		t.Fatalf("%s looks: %v", s.Self.ID, err)
	}
	var ids []scheduler.PeerID
	for _, p := range found {
		ids = append(ids, p.ID)
	}
	slices.Sort(ids)
	return ids
}

// soon repeats until ok: an announcement may be on its way for a moment.
func soon(ok func() bool) bool {
	for deadline := time.Now().Add(suitePatience); !ok(); time.Sleep(suiteAgain) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Everybody finds who has announced, once however often, but not itself.
func testFound(t *testing.T, seats []Seat) {
	k := suiteKey("a")
	for _, s := range seats {
		if got := find(t, s, k, 10); len(got) > 0 {
			t.Errorf("%s found %v before anybody announced", s.Self.ID, got)
		}
	}
	announce(t, seats[0], k)
	announce(t, seats[0], k)
	announce(t, seats[1], k)
	for i, s := range seats {
		var want []scheduler.PeerID
		for j, o := range seats[:2] {
			if i != j {
				want = append(want, o.Self.ID)
			}
		}
		slices.Sort(want)
		var got []scheduler.PeerID
		if !soon(func() bool { got = find(t, s, k, 10); return slices.Equal(got, want) }) {
			t.Errorf("peer %d found %v, want %v", i, got, want)
		}
	}
}

// A blob and the image of the same digest are different keys.
func testKeysApart(t *testing.T, seats []Seat) {
	k := suiteKey("b")
	announce(t, seats[0], k)
	image := k
	image.Image = true
	for _, other := range []peer.Key{image, suiteKey("c")} {
		if got := find(t, seats[1], other, 10); len(got) > 0 {
			t.Errorf("found %v under %v, which nobody announced", got, other)
		}
	}
}

// Peers that announce all at the same time find each other.
func testAllAtOnce(t *testing.T, seats []Seat) {
	k := suiteKey("d")
	var wg sync.WaitGroup
	for _, s := range seats {
		wg.Go(func() { announce(t, s, k) })
	}
	wg.Wait()
	for i, s := range seats {
		if !soon(func() bool { return len(find(t, s, k, 10)) == len(seats)-1 }) {
			t.Errorf("peer %d did not find all others", i)
		}
	}
}

func testMost(t *testing.T, seats []Seat) {
	k := suiteKey("e")
	for _, s := range seats {
		announce(t, s, k)
	}
	var got []scheduler.PeerID
	if !soon(func() bool { got = find(t, seats[0], k, 2); return len(got) == 2 }) {
		t.Errorf("asked for 2 of 4, found %v", got)
	}
}

func testOver(t *testing.T, seats []Seat) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := seats[0].Directory.Announce(ctx, suiteKey("f")); err == nil {
		t.Error("announced with a context that is over")
	}
}

func testWhere(t *testing.T, seats []Seat) {
	k := suiteKey("g")
	announce(t, seats[0], k)
	var found []scheduler.Peer
	var err error
	if !soon(func() bool { found, err = seats[4].Directory.Find(t.Context(), k, 10); return len(found) == 1 }) {
		t.Fatalf("found %v, %v", found, err)
	}
	if got, want := fmt.Sprintf("%+v", found[0]), fmt.Sprintf("%+v", seats[0].Self); got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}
