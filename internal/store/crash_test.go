package store_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	journalHeader = 24
	journalRecord = 40
)

// begun is the directory of a store that crashed with pieces 3, 0, 2 of s.
func begun(t *testing.T) (dir string, s sample) {
	t.Helper()
	s = newSample(t, 1, 4*mib+5)
	dir = t.TempDir()
	receive(t, begin(t, open(t, store.Config{Dir: dir}), s), s, 3, 0, 2)
	return crash(t, dir), s
}

// finish resumes the ingest of s, which must have the pieces given, and
// completes it.
func finish(t *testing.T, dir string, s sample, want ...int) {
	t.Helper()
	st := open(t, store.Config{Dir: dir})
	in := begin(t, st, s)
	expectHave(t, in, want...)
	have := in.Have()
	for i := range s.layout.Count() {
		if have.Has(i) {
			if in.Claim(i) != piece.Sum(s.piece(i)) {
				t.Fatalf("claim of piece %d is %s", i, in.Claim(i).Short())
			}
			continue
		}
		receive(t, in, s, i)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	expectWhole(t, st, s)
	_ = in.Close()
	expectFiles(t, dir, "blobs/sha256/"+s.digest.Hex(), "blobs/sha256/"+s.digest.Hex()+".pieces")
}

func TestCrashWhileReceiving(t *testing.T) {
	dir, s := begun(t)
	finish(t, dir, s, 0, 2, 3)
}

func TestJournalIsTorn(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   []int
	}{
		{"one byte of the last record is missing", cut(1), []int{0, 3}},
		{"nearly all of the last record is missing", cut(journalRecord - 1), []int{0, 3}},
		{"the last record is missing", cut(journalRecord), []int{0, 3}},
		{"the last record is false", flip(journalHeader + 2*journalRecord + 20), []int{0, 3}},
		{"the record in the middle is false", flip(journalHeader + journalRecord), []int{3}},
		{"only the header is left", cut(3 * journalRecord), nil},
		{"the end is zero", func(b []byte) []byte { return append(b, make([]byte, 1000)...) }, []int{0, 2, 3}},
		{"the end is half a record", func(b []byte) []byte { return append(b, b[journalHeader:journalHeader+7]...) }, []int{0, 2, 3}},
		{"the header is torn", cut(3*journalRecord + 1), nil},
		{"the header is false", flip(15), nil},
		{"it is empty", func([]byte) []byte { return nil }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, s := begun(t)
			edit(t, stateFile(dir, s), c.change)
			finish(t, dir, s, c.want...)
		})
	}
}

// After a crash the journal can name pieces whose bytes never reached the
// disk. They must not be believed.
func TestBytesOnDiskAreFalse(t *testing.T) {
	dir, s := begun(t)
	edit(t, partFile(dir, s), flip(2*mib+77))
	edit(t, partFile(dir, s), func(b []byte) []byte { clear(b[:mib]); return b })
	finish(t, dir, s, 3)
}

func TestPartIsCut(t *testing.T) {
	dir, s := begun(t)
	edit(t, partFile(dir, s), cut(1))
	finish(t, dir, s)
}

func TestForgottenStaysForgotten(t *testing.T) {
	dir := t.TempDir()
	s := newSample(t, 1, 2*mib)
	in := begin(t, open(t, store.Config{Dir: dir}), s)
	receive(t, in, s, 0, 1)
	if err := in.Forget(0); err != nil {
		t.Fatal(err)
	}
	finish(t, crash(t, dir), s, 1)
	receive(t, in, s, 0)
	finish(t, crash(t, dir), s, 0, 1)
}

// A false claim that was recorded must not survive the true one.
func TestLastRecordCounts(t *testing.T) {
	dir := t.TempDir()
	s := newSample(t, 1, 2*mib)
	in := begin(t, open(t, store.Config{Dir: dir}), s)
	if _, err := in.Receive(t.Context(), 0, bytes.NewReader(s.piece(1)), piece.Digest{}); err != nil {
		t.Fatal(err)
	}
	if err := in.Forget(0); err != nil {
		t.Fatal(err)
	}
	receive(t, in, s, 0)
	finish(t, crash(t, dir), s, 0)
}

// TestCrashWhileCommitting puts together what each step of a commit leaves.
func TestCrashWhileCommitting(t *testing.T) {
	s := newSample(t, 1, 2*mib)
	all := t.TempDir() // all pieces are here
	in := begin(t, open(t, store.Config{Dir: all}), s)
	receive(t, in, s, 0, 1)
	before := crash(t, all)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := crash(t, all)
	copyFile := func(t *testing.T, from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("before the table", func(t *testing.T) { finish(t, crash(t, before), s, 0, 1) })
	t.Run("half of the table", func(t *testing.T) {
		dir := crash(t, before)
		copyFile(t, blobFile(after, s)+".pieces", blobFile(dir, s)+".pieces")
		edit(t, blobFile(dir, s)+".pieces", cut(50))
		finish(t, dir, s, 0, 1)
	})
	t.Run("before the rename", func(t *testing.T) {
		dir := crash(t, before)
		copyFile(t, blobFile(after, s)+".pieces", blobFile(dir, s)+".pieces")
		finish(t, dir, s, 0, 1)
	})
	t.Run("after the rename", func(t *testing.T) {
		dir := crash(t, after)
		copyFile(t, stateFile(before, s), stateFile(dir, s))
		expectWhole(t, open(t, store.Config{Dir: dir}), s)
		expectFiles(t, dir, "blobs/sha256/"+s.digest.Hex(), "blobs/sha256/"+s.digest.Hex()+".pieces")
	})
	t.Run("both names", func(t *testing.T) { // no file system should
		dir := crash(t, after)
		copyFile(t, stateFile(before, s), stateFile(dir, s))
		copyFile(t, partFile(before, s), partFile(dir, s))
		expectWhole(t, open(t, store.Config{Dir: dir}), s)
		expectFiles(t, dir, "blobs/sha256/"+s.digest.Hex(), "blobs/sha256/"+s.digest.Hex()+".pieces")
	})
	t.Run("at the end", func(t *testing.T) { expectWhole(t, open(t, store.Config{Dir: crash(t, after)}), s) })
}

func TestDamagedBlobIsDropped(t *testing.T) {
	s, other := newSample(t, 1, 2*mib), newSample(t, 2, 2*mib)
	good := t.TempDir()
	st := open(t, store.Config{Dir: good})
	put(t, st, s)
	put(t, st, other)
	table := func(s sample) string { return s.digest.Hex() + ".pieces" }
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, blob string)
	}{
		{"it is short", func(t *testing.T, blob string) { edit(t, blob, cut(1)) }},
		{"it is long", func(t *testing.T, blob string) { edit(t, blob, func(b []byte) []byte { return append(b, 0) }) }},
		{"its table is gone", func(t *testing.T, blob string) {
			if err := os.Remove(blob + ".pieces"); err != nil {
				t.Fatal(err)
			}
		}},
		{"its table is short", func(t *testing.T, blob string) { edit(t, blob+".pieces", cut(1)) }},
		{"its table is false", func(t *testing.T, blob string) { edit(t, blob+".pieces", flip(60)) }},
		{"its table is of another blob", func(t *testing.T, blob string) {
			if err := os.Rename(filepath.Join(filepath.Dir(blob), table(other)), blob+".pieces"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := crash(t, good)
			c.damage(t, blobFile(dir, s))
			st := open(t, store.Config{Dir: dir})
			expectNotHeld(t, st, s)
			put(t, st, s)
			expectWhole(t, st, s)
		})
	}
}

// A table that is lost while the store runs costs the blob, and no more.
func TestTableIsLost(t *testing.T) {
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	for n, begin := range []func(s sample) error{
		func(s sample) error { _, err := st.Open(s.digest); return err },
		func(s sample) error { _, err := st.Ingest(t.Context(), s.digest, s.layout); return err },
	} {
		s := newSample(t, uint64(n), mib)
		put(t, st, s)
		edit(t, blobFile(dir, s)+".pieces", flip(1))
		if err := begin(s); err == nil {
			t.Fatal("a blob without table was opened")
		}
		expectFiles(t, dir)
		put(t, st, s)
		expectWhole(t, st, s)
		if err := st.Evict(s.digest); err != nil {
			t.Fatal(err)
		}
	}
}

// A part that is lost while its ingest is not open costs its pieces.
func TestPartIsLost(t *testing.T) {
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	s := newSample(t, 1, 2*mib)
	for _, name := range []string{partFile(dir, s), stateFile(dir, s)} {
		in := begin(t, st, s)
		receive(t, in, s, 1)
		_ = in.Close()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		in = begin(t, st, s)
		expectHave(t, in)
		_ = in.Close()
	}
	put(t, st, s)
}

func TestJunk(t *testing.T) {
	dir := t.TempDir()
	st := open(t, store.Config{Dir: dir})
	s := newSample(t, 1, mib)
	put(t, st, s)
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	hex := newSample(t, 2, mib).digest.Hex()
	for _, name := range []string{
		// Left over by a crash: removed.
		"trash/" + hex + ".1", "ingest/" + hex + ".state.tmp", "ingest/" + hex + ".part",
		"blobs/sha256/" + hex + ".pieces", "blobs/sha256/" + fmt.Sprintf("%064x", 7),
		"ingest/" + fmt.Sprintf("%064x", 8) + ".state",
		// Not ours: left alone.
		"blobs/sha256/README", "ingest/x.part", "other",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("junk"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := newSample(t, 3, mib)
	if err := os.Symlink(outside, blobFile(dir, link)); err != nil {
		t.Fatal(err)
	}
	st = open(t, store.Config{Dir: dir})
	expectFiles(t, dir, "blobs/sha256/"+s.digest.Hex(), "blobs/sha256/"+s.digest.Hex()+".pieces",
		"blobs/sha256/README", "ingest/x.part", "other", "blobs/sha256/"+link.digest.Hex())
	expectWhole(t, st, s)
	expectNotHeld(t, st, link)
	if held := st.Held(); len(held) != 1 {
		t.Fatalf("the store holds %v", held)
	}
	put(t, st, link) // the rename replaces the link, not what it leads to
	expectWhole(t, st, link)
	if b, err := os.ReadFile(outside); err != nil || string(b) != "secret" {
		t.Fatalf("a file outside is now %q, %v", b, err)
	}
}

func TestDirMustBeUsable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", name} {
		if st, err := store.Open(store.Config{Dir: dir}); err == nil {
			_ = st.Close()
			t.Fatalf("directory %q was opened", dir)
		}
	}
}
