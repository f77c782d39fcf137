package peertest_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
	"time"
)

func seats(_ *testing.T, n int) []peertest.Seat {
	d := &peertest.Directory{}
	var all []peertest.Seat
	for i := range n {
		self := scheduler.Peer{ID: scheduler.PeerID(fmt.Sprint("p", i)), Addrs: []string{"mem"}, Bulk: "b", Zone: "z"}
		all = append(all, peertest.Seat{Self: self, Directory: d.Desk(self)})
	}
	return all
}

func TestDirectory(t *testing.T) { peertest.TestDirectory(t, seats) }

// Nobody is found for longer than he says so.
func TestRecordsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := seats(t, 2)
		k := peer.Key{Digest: piece.Sum([]byte("x"))}
		if err := s[0].Directory.Announce(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			after time.Duration
			want  int
		}{{14 * time.Minute, 1}, {2 * time.Minute, 0}} {
			time.Sleep(c.after)
			if found, err := s[1].Directory.Find(t.Context(), k, 9); err != nil || len(found) != c.want {
				t.Errorf("%v later found %v, %v; want %d", c.after, found, err, c.want)
			}
		}
	})
}
