package storetest

import (
	"context"
	"fmt"
	"io"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/piece"
)

// ingest is the peer.Ingest of Memory.
type ingest struct {
	m *Memory
	e *entry
	// busy has a channel for every piece that a Receive works on, closed
	// when that Receive ends. Guarded by m.mu, as closed is.
	busy   map[int]chan struct{}
	closed bool
}

// Have implements peer.Ingest.
func (in *ingest) Have() piece.Bitfield {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	return in.e.have.Clone()
}

// Claim implements peer.Ingest.
func (in *ingest) Claim(i int) piece.Digest {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	if !in.e.have.Has(i) {
		return piece.Digest{}
	}
	return in.e.claims[i]
}

// Receive implements peer.Ingest.
func (in *ingest) Receive(ctx context.Context, i int, r io.Reader, want piece.Digest) (piece.Digest, error) {
	if i < 0 || i >= in.e.layout.Count() {
		return piece.Digest{}, fmt.Errorf("receive piece %d of %d", i, in.e.layout.Count())
	}
	claim, err := in.take(ctx, i)
	if err != nil || !claim.IsZero() {
		return claim, err
	}
	defer in.give(i)
	got, err := in.copy(ctx, i, r, want)
	if err != nil {
		return got, fmt.Errorf("receive piece %d: %w", i, err)
	}
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	if in.closed {
		return got, store.ErrClosed
	}
	in.e.claims[i] = got
	in.e.have.Set(i)
	return got, nil
}

// take waits until nobody else works on piece i, and takes it. If the piece
// is here by then, its claim is returned and nothing is taken.
func (in *ingest) take(ctx context.Context, i int) (piece.Digest, error) {
	for {
		in.m.mu.Lock()
		if in.e.have.Has(i) {
			defer in.m.mu.Unlock()
			return in.e.claims[i], nil
		}
		if in.closed {
			in.m.mu.Unlock()
			return piece.Digest{}, store.ErrClosed
		}
		other := in.busy[i]
		if other == nil {
			in.busy[i] = make(chan struct{})
			in.m.mu.Unlock()
			return piece.Digest{}, nil
		}
		in.m.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return piece.Digest{}, ctx.Err()
		}
	}
}

func (in *ingest) give(i int) {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	close(in.busy[i])
	delete(in.busy, i)
}

// copy moves piece i from r into the content and verifies it.
func (in *ingest) copy(ctx context.Context, i int, r io.Reader, want piece.Digest) (piece.Digest, error) {
	off, length := in.e.layout.Bounds(i)
	defer in.e.content.settle(off, length)
	v := piece.Verify(r, length, want)
	buffer := spare.Get().(*[]byte)
	defer spare.Put(buffer)
	buf := (*buffer)[:min(partSize, length)]
	for {
		n, err := v.Read(buf)
		if !in.writeAt(buf[:n], off) {
			return piece.Digest{}, store.ErrClosed
		}
		off += int64(n)
		if err == io.EOF {
			return v.Sum(), nil
		}
		if err != nil {
			return v.Sum(), err
		}
		if err := ctx.Err(); err != nil {
			return piece.Digest{}, err
		}
	}
}

// writeAt refuses once the ingest is closed: another one may be open by then.
func (in *ingest) writeAt(p []byte, off int64) bool {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	if in.closed {
		return false
	}
	in.e.content.writeAt(p, off)
	return true
}

// Forget implements peer.Ingest.
func (in *ingest) Forget(i int) error {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	if in.closed {
		return store.ErrClosed
	}
	if in.e.proven {
		return fmt.Errorf("forget piece %d: %w", i, store.ErrProven)
	}
	if in.e.have.Clear(i) {
		in.e.forgets++
	}
	return nil
}

// NewReader implements peer.Ingest.
func (in *ingest) NewReader() (io.ReadSeekCloser, error) {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	if in.closed && !in.e.whole {
		return nil, store.ErrClosed
	}
	return &reader{c: in.e.content}, nil
}

// Verify implements peer.Ingest.
func (in *ingest) Verify(ctx context.Context) error {
	in.m.mu.Lock()
	full, proven, closed, forgets := in.e.have.Full(), in.e.proven, in.closed, in.e.forgets
	in.m.mu.Unlock()
	switch {
	case proven:
		return nil
	case closed:
		return store.ErrClosed
	case !full:
		return fmt.Errorf("verify blob %s: pieces are missing", in.e.digest.Short())
	}
	got := in.e.content.sum()
	if err := ctx.Err(); err != nil {
		return err
	}
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	switch {
	case in.closed:
		return store.ErrClosed
	case in.e.forgets != forgets:
		return fmt.Errorf("verify blob %s: a piece was forgotten meanwhile", in.e.digest.Short())
	case got != in.e.digest:
		return fmt.Errorf("verify blob: %w", &piece.MismatchError{Want: in.e.digest, Got: got})
	}
	in.e.proven = true
	return nil
}

// Commit implements peer.Ingest.
func (in *ingest) Commit(ctx context.Context) error {
	if err := in.Verify(ctx); err != nil {
		return err
	}
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	if in.closed && !in.e.whole {
		return store.ErrClosed
	}
	if !in.e.whole {
		in.e.whole = true
		in.m.touch(in.e)
	}
	return nil
}

// Close implements peer.Ingest.
func (in *ingest) Close() error {
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	if in.closed {
		return nil
	}
	in.closed = true
	in.e.ingesting = false
	in.e.proven = in.e.whole // the next ingest of what is left verifies again
	in.e.pins--
	return nil
}
