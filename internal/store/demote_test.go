package store_test

import (
	"errors"
	"testing"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/piece"
)

// A blob that is kept elsewhere, too, goes before all others, however fresh;
// one that is not any more goes in its turn.
func TestDemotedGoesFirst(t *testing.T) {
	st := open(t, store.Config{Dir: t.TempDir(), Capacity: 3 * mib})
	old, mid, fresh := newSample(t, 1, mib), newSample(t, 2, mib), newSample(t, 3, mib)
	st.Demote(mid.digest) // it is not here, so this is nothing
	put(t, st, old)
	in := begin(t, st, mid)
	receive(t, in, mid, 0)
	st.Demote(mid.digest) // while it arrives, which is no different
	if err := errors.Join(in.Commit(t.Context()), in.Close()); err != nil {
		t.Fatal(err)
	}
	put(t, st, fresh)
	st.Demote(fresh.digest)
	st.Reinstate(fresh.digest)
	b, err := st.Open(mid.digest) // its use does not save it
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	put(t, st, newSample(t, 4, mib))
	expectHeld(t, st, map[piece.Digest]bool{old.digest: true, mid.digest: false, fresh.digest: true})
	put(t, st, newSample(t, 5, mib))
	expectHeld(t, st, map[piece.Digest]bool{old.digest: false, fresh.digest: true})
}

func expectHeld(t *testing.T, st *store.Store, want map[piece.Digest]bool) {
	t.Helper()
	held := make(map[piece.Digest]bool)
	for _, h := range st.Held() { // not Open, which would be a use
		held[h.Digest] = true
	}
	for d, want := range want {
		if held[d] != want {
			t.Errorf("blob %s held: %v, want %v", d.Short(), held[d], want)
		}
	}
}
