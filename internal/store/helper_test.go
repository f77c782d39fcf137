package store_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

const mib = 1 << 20

// sample is a blob to test with.
type sample struct {
	bytes  []byte
	digest piece.Digest
	layout piece.Layout
}

func newSample(t testing.TB, seed uint64, size int) sample {
	t.Helper()
	b, d := storetest.Random(seed, size)
	l, err := piece.NewLayout(int64(size))
	if err != nil {
		t.Fatal(err)
	}
	return sample{b, d, l}
}

func (s sample) piece(i int) []byte {
	off, n := s.layout.Bounds(i)
	return s.bytes[off : off+n]
}

func begin(t testing.TB, st *store.Store, s sample) peer.Ingest {
	t.Helper()
	in, err := st.Ingest(t.Context(), s.digest, s.layout)
	if err != nil {
		t.Fatalf("ingest: %v", err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in
}

func receive(t testing.TB, in peer.Ingest, s sample, pieces ...int) {
	t.Helper()
	for _, i := range pieces {
		if _, err := in.Receive(t.Context(), i, bytes.NewReader(s.piece(i)), piece.Sum(s.piece(i))); err != nil {
			t.Fatalf("receive piece %d: %v", i, err)
		}
	}
}

func put(t testing.TB, st *store.Store, s sample) {
	t.Helper()
	in := begin(t, st, s)
	for i := range s.layout.Count() {
		receive(t, in, s, i)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	if err := in.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func expectHave(t *testing.T, in peer.Ingest, want ...int) {
	t.Helper()
	have := in.Have()
	if got := slices.Collect(have.All()); !slices.Equal(got, want) {
		t.Fatalf("the ingest has pieces %v, want %v", got, want)
	}
}

func expectWhole(t *testing.T, st *store.Store, s sample) {
	t.Helper()
	b, err := st.Open(s.digest)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	defer b.Close()
	r, err := b.NewReader()
	if err != nil {
		t.Fatalf("new reader: %v", err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, s.bytes) {
		t.Fatalf("read %d bytes, %v; want %d bytes", len(got), err, len(s.bytes))
	}
}

func expectNotHeld(t *testing.T, st *store.Store, s sample) {
	t.Helper()
	if _, err := st.Open(s.digest); !errors.Is(err, peer.ErrNotHeld) {
		t.Fatalf("open gave %v", err)
	}
}

// files lists what is in a store's directory, directories with a slash.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if path == dir || err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if d.IsDir() {
			rel += "/"
		}
		out = append(out, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// empty is the files of a store without blobs.
var empty = []string{"blobs/", "blobs/sha256/", "ingest/", "lock", "trash/"}

func expectFiles(t *testing.T, dir string, more ...string) {
	t.Helper()
	want := slices.Concat(empty, more)
	slices.Sort(want)
	got := files(t, dir)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("files (-want +got):\n%s", diff)
	}
}

// crash is a copy of a store's directory as a power cut would leave it.
func crash(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func blobFile(dir string, s sample) string {
	return filepath.Join(dir, "blobs", "sha256", s.digest.Hex())
}
func partFile(dir string, s sample) string {
	return filepath.Join(dir, "ingest", s.digest.Hex()+".part")
}
func stateFile(dir string, s sample) string {
	return filepath.Join(dir, "ingest", s.digest.Hex()+".state")
}

// edit changes a file in place.
func edit(t *testing.T, name string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(off int) func(b []byte) []byte {
	return func(b []byte) []byte { b[off] ^= 1; return b }
}

func cut(n int) func(b []byte) []byte {
	return func(b []byte) []byte { return b[:len(b)-n] }
}
