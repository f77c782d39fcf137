package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"sync"

	"github.com/p2pd/p2pd/pkg/piece"
)

// content is the bytes of one blob, zero where nothing was written. Readers keep it
// alive past eviction.
type content struct {
	size  int64
	mu    sync.RWMutex // guards parts, which a piece can enter twice after Forget
	parts []part
}

func newContent(size int64) *content {
	return &content{size: size, parts: make([]part, (size+partSize-1)/partSize)}
}

// length is that of part i.
func (c *content) length(i int64) int { return int(min(partSize, c.size-i*partSize)) }

func (c *content) writeAt(p []byte, off int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		i := off / partSize
		c.parts[i].own(c.length(i))
		n := copy(c.parts[i].bytes[off%partSize:], p)
		p, off = p[n:], off+int64(n)
	}
}

// settle says that a piece is whole: its memory may be shared.
func (c *content) settle(off, length int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := off / partSize; i*partSize < off+length; i++ {
		c.parts[i].share()
	}
}

var zeros [partSize]byte

// part returns the bytes of part i. The caller holds the lock.
func (c *content) part(i int64) []byte {
	if b := c.parts[i].bytes; b != nil {
		return b
	}
	return zeros[:c.length(i)]
}

func (c *content) sum() piece.Digest {
	c.mu.RLock()
	defer c.mu.RUnlock()
	h := sha256.New()
	for i := range c.parts {
		h.Write(c.part(int64(i)))
	}
	return piece.Digest(h.Sum(nil))
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
	if r.off >= r.c.size {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && r.off < r.c.size {
		k := copy(p[n:], r.c.part(r.off / partSize)[r.off%partSize:])
		n, r.off = n+k, r.off+int64(k)
	}
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
		offset += r.c.size
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
