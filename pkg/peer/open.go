package peer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// How a blob is opened for a client: from the store, or by a download.

// Ref names a blob that a client wants.
type Ref struct {
	Digest piece.Digest
	// Size is scheduler.SizeUnknown unless a manifest told it.
	Size int64
	// Source is where to read it at its origin.
	Source Source
}

// Open returns the content of a blob: from the store if it is there whole,
// else from a download that starts now or is running already. It blocks until
// the blob's size is known. The caller must Close the content.
func (p *Peer) Open(ctx context.Context, ref Ref) (*Content, error) {
	return p.open(ctx, ref, nil)
}

// open is Open for a reader of parts, or with nil of all.
func (p *Peer) open(ctx context.Context, ref Ref, parts []Span) (*Content, error) {
	if ref.Size == scheduler.SizeUnknown {
		if says, known := p.sizes.of(ref.Digest, time.Now()); known {
			ref.Size = says
		}
	}
	for {
		blob, err := p.cfg.Store.Open(ref.Digest)
		if err == nil {
			p.noteAsked(ref, "it is whole here")
			return p.openWhole(ref.Digest, blob)
		}
		if !errors.Is(err, ErrNotHeld) {
			return nil, fmt.Errorf("open blob %s: %w", ref.Digest.Short(), err)
		}
		if why, known := p.broken.of(ref.Digest, time.Now()); known && (ref.Source != nil || !notKept(why)) {
			c, _, err := p.around(ctx, ref, why)
			return c, err
		}
		d, err := p.download(ref, parts != nil)
		if err == nil {
			c, ok := d.attach(parts)
			if !ok { // it is ending: look again afterwards
				select {
				case <-d.done:
					continue
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			if err = c.awaitSize(ctx); err == nil {
				err = ref.contradicts(c.size)
			}
			if err == nil {
				return c, nil
			}
			_ = c.Close()
		}
		c, again, err := p.around(ctx, ref, err)
		if !again {
			return c, err
		}
	}
}

// around is what becomes of a client that a download does not serve, for a reason:
// it looks again, is served past it, or is told why not.
func (p *Peer) around(ctx context.Context, ref Ref, why error) (c *Content, again bool, err error) {
	other := errors.Is(why, errOtherSize)
	switch {
	case ref.Source == nil || !other && !notKept(why):
		return nil, false, fmt.Errorf("open blob %s: %w", ref.Digest.Short(), why)
	case other && p.refuted(ctx, ref.Digest):
		return nil, true, nil
	}
	c, err = p.relay(ctx, ref, why)
	return c, false, err
}

// download returns the running download of ref's digest, or starts it; a
// partial one if nobody needs more so far. It fails with errOtherSize if the one
// that runs goes by another size.
func (p *Peer) download(ref Ref, inPart bool) (*download, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if d := p.downloads[ref.Digest]; d != nil {
		if err := ref.contradicts(d.board.size(d.ref.Size)); err != nil {
			return nil, err
		}
		if s, ok := d.ref.Source.(*sources); ok && ref.Source != nil {
			s.add(ref.Source)
		}
		p.noteAsked(ref, "it is arriving")
		return d, nil
	}
	d := newDownload(p, ref)
	d.partial.on = inPart
	p.noteAsked(ref, "it is not here: a download begins")
	p.start(d)
	return d, nil
}

// start runs a download, the only one of its digest. mu is held.
func (p *Peer) start(d *download) {
	p.downloads[d.ref.Digest] = d
	p.noteBegun()
	p.tasks.Go(func() {
		d.run()
		p.mu.Lock()
		delete(p.downloads, d.ref.Digest)
		p.mu.Unlock()
		close(d.done)
	})
}
