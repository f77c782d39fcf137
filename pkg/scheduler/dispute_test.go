package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Who disputes a blob and cannot be lent any of it gets it from a member that has become
// whole since, once that would have disputed it too were it false; and not before.
func TestWhoDisputesAndCannotReadIsNotLeftAlone(t *testing.T) {
	t.Parallel()
	t.Run("it has no origin", func(t *testing.T) { t.Parallel(); disputesAlone(t, "", false) })
	t.Run("its origin knows no ranges", func(t *testing.T) { t.Parallel(); disputesAlone(t, "o", true) })
}

func disputesAlone(t *testing.T, origin string, rangeless bool) {
	t.Helper()
	s := New(Config{Seed: 1})
	now, d := time.Unix(1000, 0), piece.Sum([]byte("blob"))
	join := func(p PeerID, origin string, has piece.Bitfield) {
		s.Step(now, PeerUp{Peer: Peer{ID: p}})
		s.Step(now, Join{Peer: p, Blobs: []Membership{{Digest: d, Size: 1, Have: has, Origin: origin}}})
	}
	join("unlucky", origin, piece.NewBitfield(1))
	if rangeless {
		s.Step(now, LeaseEnd{Peer: "unlucky", Digest: d, Lease: 1, Outcome: NoRange})
	}
	s.Step(now, Dispute{Peer: "unlucky", Digest: d})
	now = now.Add(time.Second)
	join("whole", "o", piece.FullBitfield(1))
	whole := now
	proven := func(out []Decision) bool {
		return slices.ContainsFunc(out, func(x Decision) bool {
			in, ok := x.(Introduce)
			return ok && in.To == "unlucky" && in.Proven && len(in.Peers) == 1 && in.Peers[0].ID == "whole"
		})
	}
	for range 20 {
		now = now.Add(time.Second)
		out := s.Step(now, Summary{Peer: "unlucky", Blobs: []Progress{{Digest: d, Size: 1, Have: piece.NewBitfield(1), Stalled: true}}})
		if !proven(out) {
			continue
		}
		if got := now.Sub(whole); got <= provenAfter {
			t.Errorf("a member that is whole for %v is taken for proven", got)
		}
		return
	}
	t.Error("it is never told of the member that has the blob")
}
