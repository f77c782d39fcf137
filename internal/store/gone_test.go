package store_test

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Whatever a whole blob goes for is told, once and when it is gone: room for
// another, an operator, rot. What had not arrived whole is nobody's business.
func TestWhatIsGoneIsTold(t *testing.T) {
	dir := t.TempDir()
	var st *store.Store
	var gone []piece.Digest
	st = open(t, store.Config{Dir: dir, Capacity: 3 * mib, Gone: func(d piece.Digest) {
		if st.Has(d) { // takes the lock
			t.Errorf("blob %s is told to be gone, and is here", d.Short())
		}
		gone = append(gone, d)
	}})
	expect := func(why string, want ...sample) {
		t.Helper()
		var digests []piece.Digest
		for _, s := range want {
			digests = append(digests, s.digest)
		}
		if diff := cmp.Diff(digests, gone); diff != "" {
			t.Errorf("%s: gone (-want +got):\n%s", why, diff)
		}
		gone = nil
	}
	a, b, c := newSample(t, 1, mib), newSample(t, 2, mib), newSample(t, 3, mib)
	part := begin(t, st, newSample(t, 4, mib))
	if err := part.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, st, a)
	put(t, st, b)
	put(t, st, c)
	expect("what never became whole made room")
	put(t, st, newSample(t, 5, 2*mib))
	expect("room for another", a, b)
	if err := st.Evict(c.digest); err != nil {
		t.Fatal(err)
	}
	expect("an operator", c)
	put(t, st, a)
	if err := os.Remove(blobFile(dir, a) + ".pieces"); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Open(a.digest); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatal(err)
	}
	expect("its table was lost", a)
}

// A blob that has changed on the disk is gone, too.
func TestRotIsTold(t *testing.T) {
	s := newSample(t, 1, 4*mib)
	var gone []piece.Digest
	st := open(t, store.Config{Dir: rotten(t, s), Gone: func(d piece.Digest) { gone = append(gone, d) }})
	b, err := st.Open(s.digest)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Check(t.Context(), 0, 4*mib); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]piece.Digest{s.digest}, gone); diff != "" {
		t.Errorf("gone (-want +got):\n%s", diff)
	}
}
