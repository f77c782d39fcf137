package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestReadersAreFiles(t *testing.T) {
	st := open(t, store.Config{Dir: t.TempDir()})
	s := newSample(t, 1, 2*mib)
	in := begin(t, st, s)
	receive(t, in, s, 0, 1)
	check := func(r io.ReadSeekCloser, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, ok := r.(*os.File); !ok {
			t.Fatalf("the reader is a %T, which hides sendfile", r)
		}
	}
	check(in.NewReader())
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(in.NewReader())
	b, err := st.Open(s.digest)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	check(b.NewReader())
}

func TestNobodyElseMayRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	st := open(t, store.Config{Dir: dir})
	whole, part := newSample(t, 1, mib), newSample(t, 2, mib)
	put(t, st, whole)
	receive(t, begin(t, st, part), part, 0)
	for _, name := range append(files(t, dir), ".") {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		want := fs.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode().Perm(), want)
		}
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(store.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if second, err := store.Open(store.Config{Dir: dir}); err == nil {
		_ = second.Close()
		t.Fatal("a directory was opened twice")
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatalf("close again: %v", err)
	}
	open(t, store.Config{Dir: dir})
}

func TestCloseEndsIngests(t *testing.T) {
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	s := newSample(t, 1, 3*mib)
	in := begin(t, st, s)
	receive(t, in, s, 0, 2)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Receive(t.Context(), 1, bytes.NewReader(s.piece(1)), piece.Digest{}); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("receive gave %v", err)
	}
	if _, err := st.Open(s.digest); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("open gave %v", err)
	}
	if _, err := st.Ingest(t.Context(), s.digest, s.layout); !errors.Is(err, store.ErrClosed) {
		t.Fatalf("ingest gave %v", err)
	}
	expectHave(t, begin(t, open(t, store.Config{Dir: dir}), s), 0, 2)
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	a, b, c, none := newSample(t, 1, 2*mib), newSample(t, 2, mib), newSample(t, 3, mib), newSample(t, 4, 0)
	for _, s := range []sample{a, b, c, none} {
		put(t, st, s)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i, s := range []sample{c, a, none, b} { // oldest use first
		at := now.Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(blobFile(dir, s), at, at); err != nil {
			t.Fatal(err)
		}
	}
	st = open(t, store.Config{Dir: dir})
	for _, s := range []sample{a, c, none} {
		expectWhole(t, st, s)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = open(t, store.Config{Dir: dir})
	var got []piece.Digest
	for _, h := range st.Held() {
		got = append(got, h.Digest)
	}
	if diff := cmp.Diff([]piece.Digest{none.digest, c.digest, a.digest, b.digest}, got); diff != "" {
		t.Fatalf("held after reopening (-want +got):\n%s", diff)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	// With less capacity, what was used longest ago goes.
	st = open(t, store.Config{Dir: dir, Capacity: 3 * mib})
	expectNotHeld(t, st, b)
	expectWhole(t, st, a)
	expectWhole(t, st, c)
	want := store.Stats{Capacity: 3 * mib, WholeBytes: 3 * mib, Blobs: 3, Evicted: store.Evictions{Capacity: 1}}
	if diff := cmp.Diff(want, st.Stats()); diff != "" {
		t.Fatalf("stats (-want +got):\n%s", diff)
	}
}

func TestEvict(t *testing.T) {
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	s, part := newSample(t, 1, mib), newSample(t, 2, mib)
	put(t, st, s)
	in := begin(t, st, part)
	if err := st.Evict(part.digest); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("evict of an open ingest gave %v", err)
	}
	_ = in.Close()
	b, err := st.Open(s.digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Evict(s.digest); !errors.Is(err, store.ErrInUse) {
		t.Fatalf("evict of a pinned blob gave %v", err)
	}
	_ = b.Close()
	for range 2 {
		for _, d := range []piece.Digest{s.digest, part.digest} {
			if err := st.Evict(d); err != nil {
				t.Fatalf("evict: %v", err)
			}
		}
	}
	expectFiles(t, dir)
	if diff := cmp.Diff(store.Stats{Capacity: store.DefaultCapacity, Evicted: store.Evictions{Operator: 2}}, st.Stats()); diff != "" {
		t.Fatalf("stats (-want +got):\n%s", diff)
	}
}

func TestStats(t *testing.T) {
	st := open(t, store.Config{Dir: t.TempDir(), Capacity: 8 * mib})
	whole, part := newSample(t, 1, 2*mib), newSample(t, 2, 3*mib)
	put(t, st, whole)
	in := begin(t, st, part)
	receive(t, in, part, 0, 1)
	_, err := in.Receive(t.Context(), 2, bytes.NewReader(part.piece(1)), piece.Sum(part.piece(2)))
	if err == nil {
		t.Fatal("wrong bytes were received")
	}
	_ = in.Close()
	begin(t, st, part)
	big := newSample(t, 3, 6*mib)
	if _, err := st.Ingest(t.Context(), big.digest, big.layout); !errors.Is(err, peer.ErrNoSpace) {
		t.Fatalf("ingest gave %v", err)
	}
	want := store.Stats{
		Capacity: 8 * mib, WholeBytes: 2 * mib, PartialBytes: 3 * mib, Blobs: 1, Partials: 1, OpenIngests: 1,
		Mismatches: 1, ResumedBytes: 2 * mib, NoSpace: 1,
	}
	if diff := cmp.Diff(want, st.Stats()); diff != "" {
		t.Fatalf("stats (-want +got):\n%s", diff)
	}
}

func TestKeepFree(t *testing.T) {
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	s := newSample(t, 1, mib)
	put(t, st, s)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	other := newSample(t, 2, mib)
	for _, cfg := range []store.Config{{Dir: dir, KeepFree: 1 << 60}, {Dir: dir, KeepFreeShare: 0.999999}} {
		st = open(t, cfg)
		if _, err := st.Ingest(t.Context(), other.digest, other.layout); !errors.Is(err, peer.ErrNoSpace) {
			t.Fatalf("ingest with %+v gave %v", cfg, err)
		}
		expectWhole(t, st, s)
		if room, known := st.DiskRoom(); room >= 0 || !known {
			t.Errorf("with %+v there is room for %d (known %v)", cfg, room, known)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	st = open(t, store.Config{Dir: dir, KeepFreeShare: 1e-9})
	put(t, st, other)
	if room, known := st.DiskRoom(); room <= 0 || !known {
		t.Errorf("on an empty disk there is room for %d (known %v)", room, known)
	}
}

// stopAfter is a context that ends after some looks at it.
type stopAfter struct {
	context.Context
	looks int
}

func (c *stopAfter) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

func TestResumeCanBeStopped(t *testing.T) {
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	s := newSample(t, 1, 3*mib)
	in := begin(t, st, s)
	receive(t, in, s, 0, 1, 2)
	_ = in.Close()
	for looks := range 8 {
		ctx := &stopAfter{t.Context(), looks}
		if _, err := st.Ingest(ctx, s.digest, s.layout); !errors.Is(err, context.Canceled) {
			t.Fatalf("ingest gave %v", err)
		}
	}
	expectHave(t, begin(t, st, s), 0, 1, 2)
}
