package storetest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"

	"github.com/p2pd/p2pd/pkg/piece"
)

// content is the bytes of one blob. Readers keep it alive past eviction.
type content struct {
	mu    sync.RWMutex // guards bytes, which a piece can enter twice after Forget
	bytes []byte
}

func newContent(size int64) *content { return &content{bytes: make([]byte, size)} }

func (c *content) writeAt(p []byte, off int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	copy(c.bytes[off:], p)
}

func (c *content) sum() piece.Digest {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return piece.Sum(c.bytes)
}

// blob is the peer.Blob of Memory.
type blob struct {
	m      *Memory
	e      *entry
	closed bool // guarded by m.mu
}

func (b *blob) Size() int64            { return b.e.layout.Size() }
func (b *blob) Claims() []piece.Digest { return b.e.claims }

func (b *blob) Check(context.Context, int64, int64) error { return nil }

func (b *blob) NewReader() (io.ReadSeekCloser, error) { return &reader{c: b.e.content}, nil }

func (b *blob) Close() error {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	if !b.closed {
		b.closed = true
		b.e.pins--
	}
	return nil
}

// reader is for one goroutine, as a file's offset is.
type reader struct {
	c      *content
	off    int64
	closed bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	r.c.mu.RLock()
	defer r.c.mu.RUnlock()
	if r.off >= int64(len(r.c.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, r.c.bytes[r.off:])
	r.off += int64(n)
	return n, nil
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	switch whence {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += int64(len(r.c.bytes))
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	r.off = offset
	return offset, nil
}

func (r *reader) Close() error {
	if r.closed {
		return fs.ErrClosed
	}
	r.closed = true
	return nil
}
