package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// What was committed in this life of the store was verified in it. What an
// earlier life has left may have changed since: disks rot, lie about what they
// have synced, and are written to by others. So of a blob that was found at the
// start each piece is hashed once more before it is first given to anybody.

// Check implements peer.Blob. What has been checked once costs nothing.
func (b *blob) Check(ctx context.Context, off, n int64) error {
	if b.e.unproven.Load() == nil {
		return nil
	}
	layout, err := piece.NewLayout(b.e.size)
	if err != nil {
		return err
	}
	if off < 0 || n <= 0 || off > b.e.size-n {
		return nil // there is nothing
	}
	run := layout.Covering(off, n)
	for i := run.First; i < run.End; i++ {
		if !b.s.inDoubt(b.e, i) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.prove(layout, i); err != nil {
			b.s.counts.mismatches.Add(1)
			b.s.log.Warn("a blob on disk is not what it was; dropping it", "blob", b.e.digest.Short(), "piece", i, "err", err)
			b.s.condemn(b.e)
			return fmt.Errorf("blob %s, piece %d: %w (%v)", b.e.digest.Short(), i, peer.ErrNotHeld, err) //nolint:errorlint // nobody sent anything false
		}
		b.s.settle(b.e, i)
	}
	return nil
}

// prove hashes piece i as it is on the disk.
func (b *blob) prove(layout piece.Layout, i int) error {
	f, err := b.s.root.Open(blobPath(b.e.digest))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := b.s.fail.disk(); err != nil {
		return err
	}
	got, err := b.s.hashSection(f, layout, i)
	if err == nil && got != b.claims[i] {
		err = &piece.MismatchError{Want: b.claims[i], Got: got}
	}
	return err
}

// hashSection is the digest of piece i of a file.
func (s *Store) hashSection(f *os.File, layout piece.Layout, i int) (piece.Digest, error) {
	off, length := layout.Bounds(i)
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	h := sha256.New()
	n, err := io.CopyBuffer(onlyWriter{h}, io.NewSectionReader(f, off, length), *buf)
	if err == nil && n != length {
		err = io.ErrUnexpectedEOF
	}
	return piece.Digest(h.Sum(nil)), err
}

// onlyWriter hides all but Write, so that a copy uses the buffer it is given.
type onlyWriter struct{ io.Writer }

// inDoubt reports whether piece i of a blob has not been checked yet.
func (s *Store) inDoubt(e *entry, i int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := e.unproven.Load()
	return u != nil && u.Has(i)
}

// settle notes that piece i is right.
func (s *Store) settle(e *entry, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := e.unproven.Load(); u != nil {
		if u.Clear(i); u.Count() == 0 {
			e.unproven.Store(nil)
		}
	}
}

// condemn drops a blob at once, whoever has it open: readers keep what they have
// opened, and nobody opens it again.
func (s *Store) condemn(e *entry) {
	s.mu.Lock()
	var out rubbish
	if s.index.entries[e.digest] == e && e.ingest == nil {
		out = s.discard(e)
	}
	s.mu.Unlock()
	s.empty(out)
}
