package scheduler

import (
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// ticketsOf are those among decisions, by whom they are for.
func ticketsOf(ds []Decision) map[PeerID]piece.Digest {
	got := make(map[PeerID]piece.Digest)
	for _, d := range ds {
		if t, ok := d.(Ticket); ok {
			got[t.To] = t.Digest
		}
	}
	return got
}

// In a strict cluster who joins to download gets a ticket before it is introduced to
// anybody, and the next one in time; who has all, who is banned and who is not in the swarm
// gets none. In any other nobody does.
func TestTickets(t *testing.T) {
	now := time.Unix(1000, 0)
	blob, other := piece.Sum([]byte("a")), piece.Sum([]byte("b"))
	none := piece.NewBitfield(1)
	for _, strict := range []bool{true, false} {
		s := New(Config{Tickets: strict})
		for _, p := range []PeerID{"seed", "a", "banned"} {
			s.Step(now, PeerUp{Peer: Peer{ID: p}})
		}
		s.Step(now, BanPeer{Peer: "banned", For: time.Hour})
		join := func(p PeerID, have piece.Bitfield) []Decision {
			return s.Step(now, Join{Peer: p, Blobs: []Membership{{Digest: blob, Size: 1 << 20, Have: have}}})
		}
		if got := ticketsOf(join("seed", piece.FullBitfield(1))); len(got) != 0 {
			t.Errorf("strict %v: a seed: %v", strict, got)
		}
		ds := join("a", none)
		if got := ticketsOf(ds); strict != (got["a"] == blob) || len(got) > 1 {
			t.Errorf("strict %v: who joins: %v", strict, got)
		}
		if _, first := ds[0].(Ticket); first != strict {
			t.Errorf("strict %v: it is first told of %T", strict, ds[0])
		}
		if got := ticketsOf(join("banned", none)); len(got) != 0 {
			t.Errorf("strict %v: who is banned: %v", strict, got)
		}
		progress := func(d piece.Digest, have piece.Bitfield) map[PeerID]piece.Digest {
			return ticketsOf(s.Step(now, Summary{Peer: "a", Blobs: []Progress{{Digest: d, Size: 1 << 20, Have: have}}}))
		}
		now = now.Add(TicketRenew - time.Second)
		if got := progress(blob, none); len(got) != 0 {
			t.Errorf("strict %v: too soon: %v", strict, got)
		}
		now = now.Add(time.Second)
		if got := progress(other, none); len(got) != 0 {
			t.Errorf("strict %v: for a swarm that it is not in: %v", strict, got)
		}
		if got := progress(blob, none); strict != (got["a"] == blob) {
			t.Errorf("strict %v: renewal: %v", strict, got)
		}
		now = now.Add(TicketRenew)
		if got := progress(blob, piece.FullBitfield(1)); len(got) != 0 {
			t.Errorf("strict %v: it has all: %v", strict, got)
		}
	}
}
