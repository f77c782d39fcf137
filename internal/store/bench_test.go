package store_test

import (
	"bytes"
	"testing"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// BenchmarkReceive takes pieces of 1 MiB into blobs of 64 MiB; what it
// reports includes the hash of the whole in the background.
func BenchmarkReceive(b *testing.B) {
	st := benchStore(b)
	s := newSample(b, 1, 64*mib)
	claims := make([]piece.Digest, s.layout.Count())
	for i := range claims {
		claims[i] = piece.Sum(s.piece(i))
	}
	var in peer.Ingest
	next := s.layout.Count()
	r := new(bytes.Reader)
	b.SetBytes(mib)
	b.ReportAllocs()
	for b.Loop() {
		if next == s.layout.Count() {
			b.StopTimer()
			if in != nil {
				_ = in.Close()
			}
			if err := st.Evict(s.digest); err != nil {
				b.Fatal(err)
			}
			in, next = begin(b, st, s), 0
			b.StartTimer()
		}
		r.Reset(s.piece(next))
		if _, err := in.Receive(b.Context(), next, r, claims[next]); err != nil {
			b.Fatal(err)
		}
		next++
	}
}

// BenchmarkCommit is what is left to do when the last piece is here.
func BenchmarkCommit(b *testing.B) {
	st := benchStore(b)
	s := newSample(b, 1, 64*mib)
	b.SetBytes(64 * mib)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		in := begin(b, st, s)
		for i := range s.layout.Count() {
			receive(b, in, s, i)
		}
		b.StartTimer()
		if err := in.Commit(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = in.Close()
		if err := st.Evict(s.digest); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkOpen is a hit: pin, read the table, open the file.
func BenchmarkOpen(b *testing.B) {
	st := benchStore(b)
	s := newSample(b, 1, 64*mib)
	put(b, st, s)
	b.ReportAllocs()
	for b.Loop() {
		blob, err := st.Open(s.digest)
		if err != nil {
			b.Fatal(err)
		}
		r, err := blob.NewReader()
		if err != nil {
			b.Fatal(err)
		}
		_ = r.Close()
		_ = blob.Close()
	}
}

func benchStore(b *testing.B) *store.Store {
	b.Helper()
	st, err := store.Open(store.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	return st
}
