package store

import (
	"context"
	"crypto/sha256"
	"hash"
	"io"

	"github.com/p2pd/p2pd/pkg/piece"
)

// prefix is the digest of a blob's first pieces, which grows while pieces
// arrive, so that at the end there is little left to hash. Pieces are read
// back, mostly from memory, by one goroutine that runs as long as there is
// a next piece. ingest.mu guards all of it but hash, which is the goroutine's
// while running.
type prefix struct {
	hash    hash.Hash
	pieces  int  // how many are in hash
	stale   bool // one of them was forgotten, so begin anew
	running bool
	idle    chan struct{} // closed when it stops running
	err     error         // why it stopped early
}

func newPrefix() prefix { return prefix{hash: sha256.New()} }

// next is the piece to hash next.
func (p *prefix) next() int {
	if p.stale {
		return 0
	}
	return p.pieces
}

// forget tells that piece i is false. It may be the one that is being hashed.
func (p *prefix) forget(i int) { p.stale = p.stale || i <= p.pieces }

// advance hashes what can be hashed, in the background; mu is held. A blob of
// one piece needs none of this: the piece's digest is the blob's.
func (in *ingest) advance() {
	p := &in.prefix
	if p.running || p.err != nil || in.closed || in.layout.Count() < 2 || !in.have.Has(p.next()) {
		return
	}
	p.running = true
	p.idle = make(chan struct{})
	in.hashing.Go(in.runPrefix)
}

func (in *ingest) runPrefix() {
	p := &in.prefix
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		if p.stale {
			p.hash.Reset()
			p.pieces, p.stale = 0, false
		}
		i := p.pieces
		if in.closed || p.err != nil || !in.have.Has(i) {
			p.running = false
			close(p.idle)
			return
		}
		in.mu.Unlock()
		in.s.hashers <- struct{}{}
		err := in.hashPiece(context.Background(), p.hash, i) // ends with Close
		<-in.s.hashers
		in.mu.Lock()
		if err != nil {
			p.err, p.stale = err, true
		} else if !p.stale {
			p.pieces++
		}
	}
}

// sum is the digest of the whole blob, if it is known without more hashing;
// mu is held and all pieces are here.
func (in *ingest) sum() (piece.Digest, bool) {
	p := &in.prefix
	switch n := in.layout.Count(); {
	case n == 0:
		return piece.Sum(nil), true
	case n == 1:
		return in.claims[0], true
	case !p.running && !p.stale && p.pieces == n:
		return piece.Digest(p.hash.Sum(nil)), true
	}
	return piece.Digest{}, false
}

// hashPiece writes piece i, as it is on disk, to h. It ends early with ctx
// and with the ingest.
func (in *ingest) hashPiece(ctx context.Context, h hash.Hash, i int) error {
	off, left := in.layout.Bounds(i)
	buf := in.s.buffers.Get().(*[]byte)
	defer in.s.buffers.Put(buf)
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := (*buf)[:min(left, bufferSize)]
		if err := in.readAt(p, off); err != nil {
			return err
		}
		h.Write(p)
		off += int64(len(p))
		left -= int64(len(p))
	}
	return nil
}

func (in *ingest) readAt(p []byte, off int64) error {
	in.mu.Lock()
	closed := in.closed
	in.mu.Unlock()
	if closed {
		return ErrClosed
	}
	in.files.RLock()
	defer in.files.RUnlock()
	if in.part == nil {
		return ErrClosed
	}
	if err := in.s.fail.disk(); err != nil {
		return err
	}
	_, err := in.part.ReadAt(p, off)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // somebody cut the file
	}
	return err
}
