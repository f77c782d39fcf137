package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// blob is a whole blob, pinned until Close.
type blob struct {
	s      *Store
	e      *entry
	claims []piece.Digest
	close  sync.Once
}

// Size implements peer.Blob.
func (b *blob) Size() int64 { return b.e.size }

// Claims implements peer.Blob.
func (b *blob) Claims() []piece.Digest { return b.claims }

// NewReader implements peer.Blob. The reader is an *os.File.
func (b *blob) NewReader() (io.ReadSeekCloser, error) { return b.s.openWhole(b.e.digest) }

// Close implements peer.Blob.
func (b *blob) Close() error {
	b.close.Do(func() { b.s.unpin(b.e) })
	return nil
}

func (s *Store) openWhole(d piece.Digest) (io.ReadSeekCloser, error) {
	f, err := s.root.Open(blobPath(d))
	return file(d, f, err)
}

// file keeps a nil *os.File from becoming a reader that is not nil.
func file(d piece.Digest, f *os.File, err error) (io.ReadSeekCloser, error) {
	if errors.Is(err, fs.ErrNotExist) {
		err = peer.ErrNotHeld // evicted
	}
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d.Short(), err)
	}
	return f, nil
}
