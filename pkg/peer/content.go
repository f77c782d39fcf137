package peer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// errTaken ends a reader that was handed bytes which turned out false.
var errTaken = errors.New("bytes already sent turned out not to be the blob's")

// Content is one client's view of a blob, whole or still arriving. It is
// made by Peer.Open or OpenRanges and must be closed. It is for one goroutine.
type Content struct {
	p      *Peer
	size   int64
	file   io.ReadSeekCloser // opened at the latest by awaitSize
	blob   Blob              // set when the blob was whole at Open
	digest piece.Digest      // of blob

	relay *relay // set when the store has no room for it

	d   *download // set otherwise
	pos *position
	// unproven says that it may be given the last piece before the whole blob
	// has been checked; see OpenRanges.
	unproven bool
	// generation is the board's when the first byte was handed out.
	generation int
	started    bool
}

func (p *Peer) openWhole(dg piece.Digest, blob Blob) (*Content, error) {
	r, err := blob.NewReader()
	if err != nil {
		_ = blob.Close()
		return nil, fmt.Errorf("read blob from store: %w", err)
	}
	return &Content{p: p, size: blob.Size(), file: r, blob: blob, digest: dg}, nil
}

// attach makes a Content on a running download, for a reader of parts or with
// nil of all; false if it is ending.
func (d *download) attach(parts []Span) (*Content, bool) {
	c := &Content{p: d.p, size: scheduler.SizeUnknown, d: d, pos: &position{parts: parts}}
	if len(parts) > 0 {
		c.pos.off.Store(parts[0].Off)
	}
	ok := d.board.attach(c.pos)
	if ok {
		d.post(d.readersChanged)
	}
	return c, ok
}

// awaitSize waits until the download knows the blob's size.
func (c *Content) awaitSize(ctx context.Context) error {
	b := c.d.board
	for {
		b.mu.Lock()
		ingest, changed, err := b.ingest, b.changed, b.err
		if ingest != nil {
			c.size, c.unproven = b.layout.Size(), !c.pos.all(b.layout)
			file, openErr := ingest.NewReader()
			b.mu.Unlock()
			if openErr == nil {
				c.file = file
				return nil
			}
			if err == nil {
				err = openErr
			}
			return err // why it failed says more than that it is closed
		}
		b.mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Size is the blob's length in bytes.
func (c *Content) Size() int64 { return c.size }

// Whole reports whether the blob was in the store when it was opened.
func (c *Content) Whole() bool { return c.blob != nil }

// Given is how many bytes of the blob have come, from other peers and from the
// origin, since its download began. Both are 0 if it was whole in the store. It
// may be asked after Close.
func (c *Content) Given() (peers, origin int64) {
	switch {
	case c.relay != nil:
		return 0, c.size
	case c.d == nil:
		return 0, 0
	}
	c.d.board.mu.Lock()
	defer c.d.board.mu.Unlock()
	return c.d.board.fromPeers, c.d.board.fromOrigin
}

// Await returns once byte off can be read, or says why it cannot.
// At or past the end it waits for nothing.
func (c *Content) Await(ctx context.Context, off int64) error {
	_, err := c.await(ctx, off)
	return err
}

// await returns how many bytes may be read from off on.
func (c *Content) await(ctx context.Context, off int64) (int64, error) {
	if off >= c.size {
		return 0, nil
	}
	if c.blob != nil {
		return c.checked(ctx, off)
	}
	if c.relay != nil {
		return c.relay.await(ctx, off)
	}
	if !c.pos.covers(off) {
		return 0, fmt.Errorf("byte %d: %w", off, errOutside)
	}
	c.pos.off.Store(off)
	for {
		n, generation, changed, err := c.d.board.readable(off, c.unproven)
		if err != nil {
			return 0, err
		}
		if !c.started {
			c.generation = generation
		} else if c.generation != generation {
			return 0, errTaken
		}
		if n > 0 {
			return n, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// checked is await for a blob that is here whole: the rest of a piece at a time.
func (c *Content) checked(ctx context.Context, off int64) (int64, error) {
	l, err := piece.NewLayout(c.size)
	if err != nil {
		return 0, err
	}
	start, length := l.Bounds(l.Index(off))
	return start + length - off, c.p.check(ctx, c.digest, c.blob, off, start+length-off)
}

// check is blob.Check. If the blob turns out to be here no more, the swarm is
// told: others wait for it.
func (p *Peer) check(ctx context.Context, dg piece.Digest, blob Blob, off, n int64) error {
	err := blob.Check(ctx, off, n)
	if errors.Is(err, ErrNotHeld) {
		p.Withdraw(dg)
	}
	return err
}

// WriteRange writes bytes [off, off+n) to w in order, waiting for pieces that
// have not arrived. It returns how many bytes were written. If w is backed by
// a TCP connection and the store by a file, the kernel copies.
func (c *Content) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	n = min(n, c.size-off)
	var done int64
	for done < n {
		avail, err := c.await(ctx, off+done)
		if err != nil {
			return done, err
		}
		m, err := c.copy(w, off+done, min(avail, n-done))
		done += m
		c.count(m)
		if err != nil {
			return done, err
		}
		if m == 0 {
			return done, fmt.Errorf("read stored blob at %d: %w", off+done, io.ErrUnexpectedEOF)
		}
	}
	return done, nil
}

// copy writes up to n bytes from off on, which can be read.
func (c *Content) copy(w io.Writer, off, n int64) (int64, error) {
	if c.relay != nil {
		return c.relay.write(w, off, n)
	}
	if _, err := c.file.Seek(off, io.SeekStart); err != nil {
		return 0, fmt.Errorf("read stored blob: %w", err)
	}
	c.started = true
	return io.Copy(w, io.LimitReader(c.file, n))
}

func (c *Content) count(n int64) {
	if c.relay != nil {
		return // it has counted what it read
	}
	if c.d == nil {
		c.p.stats.servedStore.Add(n)
	} else {
		c.p.stats.servedDownload.Add(n)
	}
}

// Close ends the view. A download that nobody reads goes on for a while.
func (c *Content) Close() error {
	if c.relay != nil {
		c.relay.close()
		return nil
	}
	if c.d != nil {
		c.d.board.detach(c.pos)
		c.d.post(c.d.readersChanged)
	}
	var err error
	if c.file != nil {
		err = c.file.Close()
	}
	if c.blob != nil {
		err = c.blob.Close()
	}
	return err
}
