package storetest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

func twoReceives(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	first := newGate(s.reader(0))
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if _, err := in.Receive(t.Context(), 0, first, s.claim(0)); err != nil {
			t.Errorf("first receive: %v", err)
		}
	})
	<-first.reached
	// The wait for the first ends with the context.
	if _, err := in.Receive(canceled(), 0, unread{t}, s.claim(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("second receive gave %v", err)
	}
	wg.Go(func() {
		got, err := in.Receive(t.Context(), 0, unread{t}, s.claim(0))
		if err != nil || got != s.claim(0) {
			t.Errorf("second receive gave %s, %v", got.Short(), err)
		}
	})
	receive(t, in, s, 1) // other pieces do not wait
	close(first.open)
}

func takeOver(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	first := newGate(s.wrong(0))
	var wg sync.WaitGroup
	wg.Go(func() {
		var mismatch *piece.MismatchError
		if _, err := in.Receive(t.Context(), 0, first, s.claim(0)); !errors.As(err, &mismatch) {
			t.Errorf("first receive gave %v", err)
		}
	})
	<-first.reached
	wg.Go(func() {
		if _, err := in.Receive(t.Context(), 0, s.reader(0), s.claim(0)); err != nil {
			t.Errorf("second receive: %v", err)
		}
	})
	close(first.open)
	wg.Wait()
	expectHave(t, in, 0)
	readPiece(t, mustReader(t, in), s, 0)
}

// manyReceives has several goroutines deliver all pieces, right and wrong,
// while another reads whatever is marked.
func manyReceives(t *testing.T, st peer.Store) {
	s := newSample(1, 6*mib+1)
	in := begin(t, st, s)
	var receivers sync.WaitGroup
	for g := range 4 {
		receivers.Go(func() {
			for k := range s.layout.Count() {
				i := (k + g) % s.layout.Count()
				r := s.reader(i)
				if g%2 == 0 {
					r = s.wrong(i)
				}
				_, err := in.Receive(t.Context(), i, r, s.claim(i))
				var mismatch *piece.MismatchError
				if err != nil && (g%2 == 1 || !errors.As(err, &mismatch)) {
					t.Errorf("receive piece %d: %v", i, err)
				}
			}
		})
	}
	done := make(chan struct{})
	var checker sync.WaitGroup
	checker.Go(func() {
		r, err := in.NewReader()
		if err != nil {
			t.Errorf("new reader: %v", err)
			return
		}
		defer r.Close()
		for {
			have := in.Have()
			for i := range have.All() {
				off, n := s.layout.Bounds(i)
				if _, err := r.Seek(off, io.SeekStart); err != nil {
					t.Errorf("seek: %v", err)
				}
				if _, err := io.Copy(io.Discard, piece.Verify(r, n, s.claim(i))); err != nil {
					t.Errorf("a marked piece is not what it should be: %v", err)
				}
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	receivers.Wait()
	close(done)
	checker.Wait()
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

func readersRaceCommit(t *testing.T, st peer.Store) {
	s := newSample(1, 3*mib)
	in := begin(t, st, s)
	receiveAll(t, in, s)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				r, err := in.NewReader()
				if err != nil {
					t.Errorf("new reader: %v", err)
					return
				}
				if _, err := io.Copy(io.Discard, piece.Verify(r, s.layout.Size(), s.digest)); err != nil {
					t.Errorf("read: %v", err)
				}
				_ = r.Close()
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			if err := in.Commit(t.Context()); err != nil {
				t.Errorf("commit: %v", err)
			}
		})
	}
	wg.Wait()
}

// closeDuringReceive closes an ingest under a Receive that still waits for
// bytes: what arrives then must not reach the next ingest of the blob.
func closeDuringReceive(t *testing.T, st peer.Store) {
	s := newSample(1, 2*mib)
	in := begin(t, st, s)
	late := newGate(s.wrong(0))
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := in.Receive(t.Context(), 0, late, piece.Digest{}); !errors.Is(err, store.ErrClosed) {
			t.Errorf("receive gave %v", err)
		}
	})
	<-late.reached
	closeIt(t, in)
	next := begin(t, st, s)
	receive(t, next, s, 0)
	close(late.open)
	wg.Wait()
	receive(t, next, s, 1)
	readAll(t, mustReader(t, next), s.bytes)
	if err := next.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
}
