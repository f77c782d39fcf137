package containerd

import (
	"bytes"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// receive puts a blob into our own store.
func receive(t *testing.T, s peer.Store, p []byte) {
	t.Helper()
	l, err := piece.NewLayout(int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Ingest(t.Context(), piece.Sum(p), l)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for i := range l.Count() {
		off, n := l.Bounds(i)
		if _, err := in.Receive(t.Context(), i, bytes.NewReader(p[off:off+n]), piece.Digest{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// With nothing in containerd it is our own store, to the letter.
func TestStoreAlone(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, capacity int64) peer.Store {
		return NewStore(&copies{Memory: storetest.NewMemory(capacity), demoted: make(map[piece.Digest]bool)}, New(Config{}))
	})
}

// containerd's file is opened before our own copy, and our own copy when
// containerd's file is gone; a blob in both is held once.
func TestStoreOfBoth(t *testing.T) {
	f := newFake(t)
	f.start()
	both, _ := storetest.Random(1, 1<<20)
	theirs, _ := storetest.Random(2, 10)
	ours, _ := storetest.Random(3, 20)
	f.put("k8s.io", both, false)
	f.put("k8s.io", theirs, false)
	c := follow(t, f, nil)
	s := NewStore(c.copies, c.Content)
	receive(t, s, both)
	receive(t, s, ours)
	c.offers(t, piece.Sum(both), both)
	c.offers(t, piece.Sum(theirs), theirs)

	var want []peer.Held
	for _, p := range [][]byte{both, theirs, ours} {
		want = append(want, peer.Held{Digest: piece.Sum(p), Size: int64(len(p))})
	}
	byDigest := cmpopts.SortSlices(func(a, b peer.Held) bool { return a.Digest.Hex() < b.Digest.Hex() })
	if diff := cmp.Diff(want, s.Held(), byDigest); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	file := func() bool {
		t.Helper()
		b, err := s.Open(piece.Sum(both))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		r, err := b.NewReader()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, is := r.(*os.File)
		return is
	}
	if !file() {
		t.Error("our own copy is read though containerd has the blob")
	}
	if err := os.Remove(f.path(piece.Sum(both))); err != nil {
		t.Fatal(err)
	}
	if file() {
		t.Error("read from a file that is gone")
	}
}
