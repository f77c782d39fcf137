package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

func roundTrip(t *testing.T, st peer.Store) {
	s := newSample(1, 3*mib+12345)
	in := begin(t, st, s)
	if have := in.Have(); have.Len() != 4 || have.Count() != 0 {
		t.Fatalf("a new ingest has %d of %d pieces", have.Count(), have.Len())
	}
	for n, i := range []int{2, 0, 3, 1} {
		receive(t, in, s, i)
		if have := in.Have(); have.Count() != n+1 || !have.Has(i) {
			t.Fatalf("after piece %d the ingest has %v", i, slices.Collect(have.All()))
		}
		if in.Claim(i) != s.claim(i) {
			t.Fatalf("claim of piece %d is %s", i, in.Claim(i).Short())
		}
		readPiece(t, mustReader(t, in), s, i)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit again: %v", err)
	}
	closeIt(t, in)

	b := mustOpen(t, st, s.digest)
	if b.Size() != int64(len(s.bytes)) {
		t.Fatalf("size is %d, want %d", b.Size(), len(s.bytes))
	}
	if len(b.Claims()) != 4 {
		t.Fatalf("%d claims, want 4", len(b.Claims()))
	}
	for i, c := range b.Claims() {
		if c != s.claim(i) {
			t.Fatalf("claim of piece %d is %s", i, c.Short())
		}
	}
	readAll(t, mustReader(t, b), s.bytes)
}

func emptyBlob(t *testing.T, st peer.Store) {
	s := newSample(1, 0)
	in := begin(t, st, s)
	if have := in.Have(); !have.Full() {
		t.Fatal("the ingest of an empty blob misses pieces")
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	closeIt(t, in)
	b := mustOpen(t, st, s.digest)
	if b.Size() != 0 || len(b.Claims()) != 0 {
		t.Fatalf("size %d, %d claims", b.Size(), len(b.Claims()))
	}
	readAll(t, mustReader(t, b), nil)

	// An empty blob of another digest is false.
	s.digest = piece.Sum([]byte("not empty"))
	var mismatch *piece.MismatchError
	if err := begin(t, st, s).Commit(t.Context()); !errors.As(err, &mismatch) {
		t.Fatalf("commit of a false empty blob gave %v", err)
	}
}

func claimTaken(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	got, err := in.Receive(t.Context(), 1, s.reader(1), piece.Digest{})
	if err != nil || got != s.claim(1) || in.Claim(1) != got {
		t.Fatalf("receive gave %s, %v", got.Short(), err)
	}
	if !in.Claim(0).IsZero() || !in.Claim(-1).IsZero() || !in.Claim(2).IsZero() {
		t.Fatal("a piece that is not here has a claim")
	}
}

func wrongBytes(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	_, err := in.Receive(t.Context(), 0, s.wrong(0), s.claim(0))
	var mismatch *piece.MismatchError
	if !errors.As(err, &mismatch) || mismatch.Want != s.claim(0) {
		t.Fatalf("wrong bytes gave %v", err)
	}
	expectHave(t, in)
	if !in.Claim(0).IsZero() {
		t.Fatal("a refused piece has a claim")
	}
	receive(t, in, s, 0, 1)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	readAll(t, mustReader(t, in), s.bytes)
}

func expectHave(t *testing.T, in peer.Ingest, want ...int) {
	t.Helper()
	have := in.Have()
	if got := slices.Collect(have.All()); !slices.Equal(got, want) {
		t.Fatalf("the ingest has pieces %v, want %v", got, want)
	}
}

func shortReader(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	for _, want := range []piece.Digest{s.claim(0), {}} {
		_, err := in.Receive(t.Context(), 0, bytes.NewReader(s.piece(0)[:mib-1]), want)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("a short reader gave %v", err)
		}
	}
	expectHave(t, in)
}

func failingReader(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	broken := errors.New("broken")
	r := io.MultiReader(bytes.NewReader(s.piece(0)[:1000]), iotest.ErrReader(broken))
	if _, err := in.Receive(t.Context(), 0, r, s.claim(0)); !errors.Is(err, broken) {
		t.Fatalf("a failing reader gave %v", err)
	}
	expectHave(t, in)
	// Odd reads, and io.EOF together with the last byte, are no failure.
	for i, r := range []io.Reader{iotest.HalfReader(s.reader(0)), iotest.DataErrReader(s.reader(1))} {
		if _, err := in.Receive(t.Context(), i, r, s.claim(i)); err != nil {
			t.Fatalf("receive: %v", err)
		}
	}
	expectHave(t, in, 0, 1)
}

func longReader(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receive(t, in, s, 1)
	r := bytes.NewReader(append(bytes.Clone(s.piece(0)), "and more"...))
	if _, err := in.Receive(t.Context(), 0, r, s.claim(0)); err != nil {
		t.Fatalf("receive: %v", err)
	}
	if r.Len() != len("and more") {
		t.Fatalf("%d bytes are left in the reader", r.Len())
	}
	readAll(t, mustReader(t, in), s.bytes)
}

func receiveAgain(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receive(t, in, s, 0)
	for _, want := range []piece.Digest{s.claim(0), {}, s.claim(1)} {
		got, err := in.Receive(t.Context(), 0, unread{t}, want)
		if err != nil || got != s.claim(0) {
			t.Fatalf("receive again gave %s, %v", got.Short(), err)
		}
	}
}

func outOfBlob(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	for _, i := range []int{-1, 2} {
		if _, err := in.Receive(t.Context(), i, unread{t}, piece.Digest{}); err == nil {
			t.Fatalf("piece %d of 2 was received", i)
		}
		if err := in.Forget(i); err != nil {
			t.Fatalf("forget of a piece that is not here: %v", err)
		}
	}
}

func endedContext(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	if in, err := st.Ingest(canceled(), s.digest, s.layout); !errors.Is(err, context.Canceled) {
		if err == nil {
			_ = in.Close()
		}
		t.Fatalf("ingest gave %v", err)
	}
	in := begin(t, st, s)
	if _, err := in.Receive(canceled(), 0, s.reader(0), s.claim(0)); !errors.Is(err, context.Canceled) {
		t.Fatalf("receive gave %v", err)
	}
	expectHave(t, in)
	receiveAll(t, in, s)
	if err := in.Commit(canceled()); !errors.Is(err, context.Canceled) {
		t.Fatalf("commit gave %v", err)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func forget(t *testing.T, st peer.Store) {
	s := newSample(1, 3*mib)
	in := begin(t, st, s)
	if _, err := in.Receive(t.Context(), 1, s.wrong(1), piece.Digest{}); err != nil {
		t.Fatalf("receive: %v", err)
	}
	receive(t, in, s, 0, 2)
	if err := in.Forget(1); err != nil {
		t.Fatalf("forget: %v", err)
	}
	if err := in.Forget(1); err != nil {
		t.Fatalf("forget again: %v", err)
	}
	expectHave(t, in, 0, 2)
	if !in.Claim(1).IsZero() {
		t.Fatal("a forgotten piece has a claim")
	}
	receive(t, in, s, 1)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	readAll(t, mustReader(t, in), s.bytes)
	if err := in.Forget(1); !errors.Is(err, store.ErrProven) {
		t.Fatalf("forget of a proven piece gave %v", err)
	}
	expectHave(t, in, 0, 1, 2)
}

func incomplete(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receive(t, in, s, 1)
	var mismatch *piece.MismatchError
	for _, end := range []func(context.Context) error{in.Verify, in.Commit} {
		if err := end(t.Context()); err == nil || errors.As(err, &mismatch) {
			t.Fatalf("with a piece missing it gave %v", err)
		}
	}
	receive(t, in, s, 0)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func falseBlob(t *testing.T, st peer.Store) {
	for _, size := range []int{mib - 7, 4 * mib} { // one piece; several
		s := newSample(uint64(size), size)
		in := begin(t, st, s)
		last := s.layout.Count() - 1
		for i := range last {
			receive(t, in, s, i)
		}
		if _, err := in.Receive(t.Context(), last, s.wrong(last), piece.Digest{}); err != nil {
			t.Fatalf("receive: %v", err)
		}
		var mismatch *piece.MismatchError
		for _, end := range []func(context.Context) error{in.Verify, in.Commit, in.Verify} {
			if err := end(t.Context()); !errors.As(err, &mismatch) || mismatch.Want != s.digest {
				t.Fatalf("a false blob gave %v", err)
			}
		}
		if _, err := st.Open(s.digest); !errors.Is(err, peer.ErrNotHeld) {
			t.Fatalf("open of a false blob gave %v", err)
		}
		if have := in.Have(); !have.Full() {
			t.Fatal("pieces were lost")
		}
		if err := in.Forget(last); err != nil {
			t.Fatalf("forget: %v", err)
		}
		receive(t, in, s, last)
		if err := in.Commit(t.Context()); err != nil {
			t.Fatalf("commit: %v", err)
		}
		readAll(t, mustReader(t, mustOpen(t, st, s.digest)), s.bytes)
	}
}

func verifyOnly(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	receiveAll(t, in, s)
	if err := in.Verify(t.Context()); err != nil {
		t.Fatalf("verify: %v", err)
	}
	if err := in.Forget(0); !errors.Is(err, store.ErrProven) {
		t.Fatalf("forget of a proven piece gave %v", err)
	}
	if _, err := st.Open(s.digest); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("open before commit gave %v", err)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	mustOpen(t, st, s.digest)
}
