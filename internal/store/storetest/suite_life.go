package storetest

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

func oneIngest(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receive(t, in, s, 0)
	if _, err := st.Ingest(t.Context(), s.digest, s.layout); !errors.Is(err, store.ErrIngestOpen) {
		t.Fatalf("a second ingest gave %v", err)
	}
	begin(t, st, newSample(2, 2*mib)) // another digest is welcome
	expectHave(t, in, 0)
	closeIt(t, in)
	begin(t, st, s)
}

func goesOn(t *testing.T, st peer.Store) {
	s := newSample(1, 4*mib)
	in := begin(t, st, s)
	receive(t, in, s, 3, 1)
	closeIt(t, in)
	closeIt(t, in)

	in = begin(t, st, s)
	expectHave(t, in, 1, 3)
	for _, i := range []int{1, 3} {
		if in.Claim(i) != s.claim(i) {
			t.Fatalf("claim of piece %d is %s", i, in.Claim(i).Short())
		}
		readPiece(t, mustReader(t, in), s, i)
	}
	if got, err := in.Receive(t.Context(), 3, unread{t}, piece.Digest{}); err != nil || got != s.claim(3) {
		t.Fatalf("receive gave %s, %v", got.Short(), err)
	}
	receive(t, in, s, 0, 2)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	readAll(t, mustReader(t, mustOpen(t, st, s.digest)), s.bytes)
}

func forgottenStays(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receive(t, in, s, 0, 1)
	if err := in.Forget(1); err != nil {
		t.Fatalf("forget: %v", err)
	}
	closeIt(t, in)
	expectHave(t, begin(t, st, s), 0)
}

func otherSize(t *testing.T, st peer.Store) {
	s := newSample(1, 3*mib)
	cut := s
	cut.layout, _ = piece.NewLayout(2 * mib)
	in := begin(t, st, cut)
	receive(t, in, cut, 0, 1)
	closeIt(t, in)
	in = begin(t, st, s)
	expectHave(t, in)
	receiveAll(t, in, s)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func ingestWhole(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	put(t, st, s)
	in := begin(t, st, s)
	expectHave(t, in, 0, 1)
	if in.Claim(1) != s.claim(1) {
		t.Fatalf("claim of piece 1 is %s", in.Claim(1).Short())
	}
	if got, err := in.Receive(t.Context(), 0, unread{t}, piece.Digest{}); err != nil || got != s.claim(0) {
		t.Fatalf("receive gave %s, %v", got.Short(), err)
	}
	if err := in.Forget(0); !errors.Is(err, store.ErrProven) {
		t.Fatalf("forget gave %v", err)
	}
	readAll(t, mustReader(t, in), s.bytes)
	if err := in.Verify(t.Context()); err != nil {
		t.Fatalf("verify: %v", err)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	if _, err := st.Ingest(t.Context(), s.digest, s.layout); !errors.Is(err, store.ErrIngestOpen) {
		t.Fatalf("a second ingest gave %v", err)
	}
	closeIt(t, in)
	other, _ := piece.NewLayout(3 * mib)
	if in, err := st.Ingest(t.Context(), s.digest, other); err == nil {
		_ = in.Close()
		t.Fatal("a whole blob was ingested with another size")
	}
	mustOpen(t, st, s.digest)
}

func closedIngest(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receive(t, in, s, 0)
	r := mustReader(t, in)
	closeIt(t, in)
	if _, err := in.Receive(t.Context(), 1, s.reader(1), s.claim(1)); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("receive gave %v", err)
	}
	if err := in.Forget(0); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("forget gave %v", err)
	}
	if err := in.Verify(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("verify gave %v", err)
	}
	if err := in.Commit(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("commit gave %v", err)
	}
	if _, err := in.NewReader(); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("new reader gave %v", err)
	}
	readPiece(t, r, s, 0)
	expectHave(t, begin(t, st, s), 0)
}

func severalReaders(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receiveAll(t, in, s)
	for _, o := range []opener{in, func() opener {
		if err := in.Commit(t.Context()); err != nil {
			t.Fatalf("commit: %v", err)
		}
		return mustOpen(t, st, s.digest)
	}()} {
		a, b := mustReader(t, o), mustReader(t, o)
		if _, err := a.Seek(-10, io.SeekEnd); err != nil {
			t.Fatalf("seek: %v", err)
		}
		readAll(t, a, s.bytes[2*mib-10:])
		closeIt(t, a)
		readAll(t, b, s.bytes)
	}
}

func readerSurvivesCommit(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receiveAll(t, in, s)
	before := mustReader(t, in)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	between := mustReader(t, in)
	closeIt(t, in)
	// A client that joined at the last moment asks after the end.
	after := mustReader(t, in)
	for _, r := range []io.Reader{before, between, after} {
		readAll(t, r, s.bytes)
	}
	b := mustOpen(t, st, s.digest)
	r := mustReader(t, b)
	closeIt(t, b)
	readAll(t, r, s.bytes)
}

func notHeld(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	if _, err := st.Open(s.digest); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("open gave %v", err)
	}
	in := begin(t, st, s)
	receiveAll(t, in, s)
	if _, err := st.Open(s.digest); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("open of a blob not yet committed gave %v", err)
	}
	if held := st.Held(); len(held) != 0 {
		t.Fatalf("an empty store holds %v", held)
	}
}

func heldOrder(t *testing.T, st peer.Store) {
	a, b, c := newSample(1, 1000), newSample(2, 2000), newSample(3, 3000)
	for _, s := range []sample{a, b, c} {
		put(t, st, s)
	}
	begin(t, st, newSample(4, 1000)) // not whole, so not held
	expectHeld(t, st, c, b, a)
	closeIt(t, mustOpen(t, st, a.digest))
	expectHeld(t, st, a, c, b)
}

func expectHeld(t *testing.T, st peer.Store, want ...sample) {
	t.Helper()
	var held []peer.Held
	for _, s := range want {
		held = append(held, peer.Held{Digest: s.digest, Size: s.layout.Size()})
	}
	if got := st.Held(); !slices.Equal(got, held) {
		t.Fatalf("the store holds %v, want %v", got, held)
	}
}

// To look is no use: the order in which blobs go stays what it was.
func has(t *testing.T, st peer.Store) {
	a, b := newSample(1, 1000), newSample(2, 2000)
	put(t, st, a)
	put(t, st, b)
	arriving := newSample(3, 3000)
	begin(t, st, arriving)
	for _, s := range []sample{a, b} {
		if !st.Has(s.digest) {
			t.Errorf("a blob that is here whole is not seen")
		}
	}
	if st.Has(arriving.digest) || st.Has(newSample(4, 4000).digest) {
		t.Error("a blob is seen that is not here whole")
	}
	st.Has(a.digest)
	expectHeld(t, st, b, a)
}
