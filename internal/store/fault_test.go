package store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// fullDisk is a file on which every write meets a full disk.
func fullDisk(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no full disk to test with: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// arriving is an ingest of three pieces, and their bytes.
func arriving(t *testing.T) (*ingest, [][]byte) {
	t.Helper()
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	content := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(content)
	in, err := s.begin(t.Context(), piece.Sum(content), layoutOf(t, int64(len(content))))
	if err != nil {
		t.Fatal(err)
	}
	return in, [][]byte{content[:1<<20], content[1<<20 : 2<<20], content[2<<20:]}
}

func mustReceive(t *testing.T, in *ingest, pieces [][]byte, which ...int) {
	t.Helper()
	for _, i := range which {
		if _, err := in.Receive(t.Context(), i, bytes.NewReader(pieces[i]), piece.Sum(pieces[i])); err != nil {
			t.Fatalf("receive piece %d: %v", i, err)
		}
	}
}

func TestDiskFullWhileReceiving(t *testing.T) {
	in, pieces := arriving(t)
	part := in.part
	in.part = fullDisk(t)
	_, err := in.Receive(t.Context(), 0, bytes.NewReader(pieces[0]), piece.Digest{})
	if !errors.Is(err, peer.ErrNoSpace) {
		t.Fatalf("receive gave %v", err)
	}
	if have := in.Have(); have.Count() != 0 {
		t.Fatal("a piece that was not written is marked")
	}
	in.part = part // somebody made room
	mustReceive(t, in, pieces, 0, 1, 2)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// When others fill the disk, the store gives way, but not for what it could
// not take anyway.
func TestYield(t *testing.T) {
	in, pieces := arriving(t)
	s := in.s
	mustReceive(t, in, pieces, 0, 1, 2)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.yield(0) {
		t.Fatal("a blob that is in use was evicted")
	}
	_ = in.Close()
	if s.yield(1<<60) || len(s.Held()) != 1 {
		t.Fatal("a blob was evicted although that does not help")
	}
	if !s.yield(0) || len(s.Held()) != 0 {
		t.Fatal("nothing was evicted")
	}
	if s.yield(0) {
		t.Fatal("an empty store evicted something")
	}
}

// A journal that cannot be written costs pieces after a restart, nothing now.
func TestDiskFullForJournal(t *testing.T) {
	in, pieces := arriving(t)
	mustReceive(t, in, pieces, 0)
	file := in.journal.f
	in.journal.f = fullDisk(t)
	mustReceive(t, in, pieces, 1)
	in.journal.f = file
	mustReceive(t, in, pieces, 2)
	_ = in.Close()
	in, err := in.s.begin(t.Context(), in.digest, in.layout)
	if err != nil {
		t.Fatal(err)
	}
	if have := in.Have(); have.Count() != 2 || have.Has(1) {
		t.Fatalf("%d pieces are resumed, want 0 and 2", have.Count())
	}
	mustReceive(t, in, pieces, 1)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// If a step of the commit fails, the ingest goes on and can commit later.
func TestCommitStepFails(t *testing.T) {
	in, pieces := arriving(t)
	mustReceive(t, in, pieces, 0, 1, 2)
	obstacle := filepath.Join(in.s.root.Name(), tablePath(in.digest))
	for _, name := range []string{obstacle, filepath.Join(in.s.root.Name(), blobPath(in.digest))} {
		if err := os.MkdirAll(filepath.Join(name, "in the way"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(t.Context()); err == nil {
			t.Fatal("commit succeeded over a directory")
		}
		if _, err := in.s.Open(in.digest); !errors.Is(err, peer.ErrNotHeld) {
			t.Fatalf("open gave %v", err)
		}
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	b, err := in.s.Open(in.digest)
	if err != nil {
		t.Fatal(err)
	}
	_ = b.Close()
}

// If the bytes cannot be read back, the blob is not proven, and the next
// Verify tries again.
func TestVerifyCannotRead(t *testing.T) {
	in, pieces := arriving(t)
	mustReceive(t, in, pieces, 0, 1)
	in.waitIdle()
	if err := in.part.Truncate(2 << 20); err != nil {
		t.Fatal(err)
	}
	in.mu.Lock()
	in.claims[2] = piece.Sum(pieces[2])
	in.have.Set(2) // as if its bytes had been lost
	in.mu.Unlock()
	if err := in.Verify(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("verify gave %v", err)
	}
	if err := in.Forget(2); err != nil {
		t.Fatal(err)
	}
	mustReceive(t, in, pieces, 2)
	if err := in.Verify(t.Context()); err != nil {
		t.Fatalf("verify: %v", err)
	}
}

// waitIdle waits until the prefix has caught up.
func (in *ingest) waitIdle() {
	in.mu.Lock()
	idle, running := in.prefix.idle, in.prefix.running
	in.mu.Unlock()
	if running {
		<-idle
	}
}

// The digest of the whole grows with the pieces at the front, in whatever
// order they come, and starts anew when one of them is forgotten.
func TestPrefixFollows(t *testing.T) {
	in, pieces := arriving(t)
	expect := func(want int) {
		t.Helper()
		in.waitIdle()
		in.mu.Lock()
		defer in.mu.Unlock()
		if in.prefix.pieces != want || in.prefix.stale {
			t.Fatalf("%d pieces are hashed (stale: %v), want %d", in.prefix.pieces, in.prefix.stale, want)
		}
	}
	mustReceive(t, in, pieces, 1)
	expect(0)
	mustReceive(t, in, pieces, 0)
	expect(2)
	if err := in.Forget(0); err != nil {
		t.Fatal(err)
	}
	mustReceive(t, in, pieces, 2)
	mustReceive(t, in, pieces, 0)
	expect(3)
	if err := in.Verify(t.Context()); err != nil {
		t.Fatalf("verify: %v", err)
	}
}

func TestNoSpaceIsRecognised(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, &os.PathError{Err: syscall.EDQUOT}} {
		if got := noSpace(err); !errors.Is(got, peer.ErrNoSpace) || !errors.Is(got, err) {
			t.Errorf("%v gave %v", err, got)
		}
	}
	if got := noSpace(io.EOF); got != io.EOF {
		t.Errorf("another error gave %v", got)
	}
	if noSpace(nil) != nil {
		t.Error("no error gave one")
	}
}

// What a disk refuses is told apart: it is full, it fails, or the store is closing.
func TestWhatCannotBeWritten(t *testing.T) {
	kinds := []error{peer.ErrNoSpace, peer.ErrDisk, ErrClosed}
	for err, kind := range map[error]int{syscall.ENOSPC: 0, syscall.EIO: 1, syscall.EROFS: 1, ErrClosed: 2} {
		got := unwritable(err)
		for i, one := range kinds {
			if errors.Is(got, one) != (i == kind) {
				t.Errorf("%v gave %v; that it is %q: %v", err, got, one, i != kind)
			}
		}
		if !errors.Is(got, err) {
			t.Errorf("%v gave %v", err, got)
		}
	}
	if unwritable(nil) != nil {
		t.Error("no error gave one")
	}
}
