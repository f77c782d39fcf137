package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Receive implements peer.Ingest. No other code writes content to disk. Bytes
// are hashed on their way, 256 KiB at a time, and lie in their place before
// they are known to be right; what makes a piece readable is its mark, which
// only comes after.
func (in *ingest) Receive(ctx context.Context, i int, r io.Reader, want piece.Digest) (piece.Digest, error) {
	if i < 0 || i >= in.layout.Count() {
		return piece.Digest{}, fmt.Errorf("receive piece %d of %d", i, in.layout.Count())
	}
	claim, err := in.take(ctx, i)
	if err != nil || !claim.IsZero() {
		return claim, err
	}
	defer in.give(i)
	got, err := in.copyPiece(ctx, i, r, want)
	if err == nil {
		err = in.mark(i, got)
	}
	if err != nil {
		var mismatch *piece.MismatchError
		if errors.As(err, &mismatch) {
			in.s.counts.mismatches.Add(1)
		}
		return got, fmt.Errorf("receive piece %d of blob %s: %w", i, in.digest.Short(), err)
	}
	in.flush(i)
	return got, nil
}

// take waits until no other Receive works on piece i, and takes it. If the
// piece is here by then, its claim is returned and nothing is taken: a piece
// that is marked is never written.
func (in *ingest) take(ctx context.Context, i int) (piece.Digest, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		if claim := in.claim(i); !claim.IsZero() {
			return claim, nil
		}
		if in.closed {
			return piece.Digest{}, ErrClosed
		}
		other := in.busy[i]
		if other == nil {
			in.busy[i] = make(chan struct{})
			return piece.Digest{}, nil
		}
		in.mu.Unlock()
		select {
		case <-other:
			in.mu.Lock()
		case <-ctx.Done():
			in.mu.Lock()
			return piece.Digest{}, ctx.Err()
		}
	}
}

func (in *ingest) give(i int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	close(in.busy[i])
	delete(in.busy, i)
}

// copyPiece moves piece i from r to its place and returns its digest, which
// is want unless want is zero.
func (in *ingest) copyPiece(ctx context.Context, i int, r io.Reader, want piece.Digest) (piece.Digest, error) {
	off, length := in.layout.Bounds(i)
	v := piece.Verify(r, length, want)
	buf := in.s.buffers.Get().(*[]byte)
	defer in.s.buffers.Put(buf)
	for {
		n, err := fill(ctx, v, *buf)
		if werr := in.writeAt((*buf)[:n], off); werr != nil {
			return piece.Digest{}, unwritable(werr)
		}
		in.s.fail.at("receive: some bytes are written")
		off += int64(n)
		if err == io.EOF {
			return v.Sum(), nil
		}
		if err != nil {
			return v.Sum(), err
		}
	}
}

// fill reads until buf is full or r ends, so that a connection that hands out
// a few KiB at a time does not cost a write each.
func fill(ctx context.Context, r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

func (in *ingest) writeAt(p []byte, off int64) error {
	in.files.RLock()
	defer in.files.RUnlock()
	if in.part == nil {
		return ErrClosed
	}
	if err := in.s.fail.disk(); err != nil {
		return err
	}
	_, err := in.part.WriteAt(p, off)
	return err
}

// mark makes piece i readable.
func (in *ingest) mark(i int, claim piece.Digest) error {
	in.journal.mu.Lock()
	defer in.journal.mu.Unlock()
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return ErrClosed
	}
	in.claims[i] = claim
	in.have.Set(i)
	in.advance()
	in.mu.Unlock()
	in.s.fail.at("receive: piece is marked")
	in.record(i, claim)
	in.s.fail.at("receive: piece is recorded")
	return nil
}

// flush lets the disk begin with piece i. Whoever delivers faster than the
// disk writes may be held up here, after the piece has become readable.
func (in *ingest) flush(i int) {
	in.files.RLock()
	defer in.files.RUnlock()
	if in.part != nil {
		off, n := in.layout.Bounds(i)
		startWriteback(in.part, off, n)
	}
}
