package store_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// smallDisk is a file system of its own with room for size bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("mounting a small disk needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fillUp takes all that is left of a disk; the file's removal gives it back.
func fillUp(t *testing.T, dir string) (junk string) {
	t.Helper()
	junk = filepath.Join(dir, "junk")
	f, err := os.Create(junk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return junk
}

// A blob begins on a disk only if there is room for all of it, so a disk that
// others fill meanwhile does not stop it. What cannot be written at the end
// costs nobody who reads it, and nothing that has arrived.
func TestFullDisk(t *testing.T) {
	dir := smallDisk(t, "8m")
	st := open(t, store.Config{Dir: filepath.Join(dir, "store")})
	large := newSample(t, 1, 9*mib)
	if _, err := st.Ingest(t.Context(), large.digest, large.layout); !errors.Is(err, peer.ErrNoSpace) {
		t.Fatalf("ingest of what does not fit gave %v", err)
	}
	s := newSample(t, 2, 3*mib)
	in := begin(t, st, s)
	receive(t, in, s, 0)
	junk := fillUp(t, dir)
	receive(t, in, s, 1, 2)
	if err := in.Commit(t.Context()); !errors.Is(err, peer.ErrNoSpace) {
		t.Fatalf("commit on a full disk gave %v", err)
	}
	r, err := in.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err := io.ReadAll(r); err != nil || piece.Sum(p) != s.digest {
		t.Fatalf("read %d bytes of it, %v", len(p), err)
	}
	if err := os.Remove(junk); err != nil {
		t.Fatal(err)
	}
	in = begin(t, st, s)
	expectHave(t, in, 0, 1, 2)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	expectWhole(t, st, s)
}

// A store on a disk that others have filled makes room out of its own.
func TestFullDiskTakesTheOldest(t *testing.T) {
	dir := smallDisk(t, "8m")
	st := open(t, store.Config{Dir: filepath.Join(dir, "store")})
	old, newer, s := newSample(t, 1, 4*mib), newSample(t, 3, mib), newSample(t, 2, 4*mib)
	put(t, st, old)
	put(t, st, newer)
	fillUp(t, dir)
	put(t, st, s)
	expectWhole(t, st, s)
	if n := st.Stats().Blobs; n != 1 {
		t.Errorf("%d blobs on a disk that has room for one", n)
	}
}

// A blob that went to make room on a disk that others have filled is told to be
// gone.
func TestADiskThatOthersFillIsTold(t *testing.T) {
	dir := smallDisk(t, "8m")
	var gone []piece.Digest
	st := open(t, store.Config{Dir: filepath.Join(dir, "store"), Gone: func(d piece.Digest) { gone = append(gone, d) }})
	old := newSample(t, 1, 2*mib)
	put(t, st, old)
	fillUp(t, dir)
	put(t, st, newSample(t, 2, mib))
	if diff := cmp.Diff([]piece.Digest{old.digest}, gone); diff != "" {
		t.Errorf("gone (-want +got):\n%s", diff)
	}
}
