package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Upload is the content that one child gets. Reader is limited to the bytes
// asked for; on a disk store it is an *io.LimitedReader over an *os.File, so
// that copying it to a TCP connection uses sendfile.
type Upload struct {
	Reader io.Reader
	close  func()
}

// NewUpload is an upload of what r yields; release gives its slot back. For
// a Handler that is not a *Peer.
func NewUpload(r io.Reader, release func()) *Upload { return &Upload{Reader: r, close: release} }

// Close gives the slot back.
func (u *Upload) Close() { u.close() }

// Upload implements Handler.
func (p *Peer) Upload(ctx context.Context, child scheduler.PeerID, dg piece.Digest, off, n int64) (*Upload, error) {
	if p.bans.banned(child, time.Now()) {
		return nil, ErrBusy
	}
	if !p.may(child, dg) {
		return nil, ErrNotHeld
	}
	release, err := p.slots.acquire(ctx, child, ask{dg, off})
	if err != nil {
		return nil, err
	}
	r, err := p.openVerified(ctx, dg, off, n)
	if err != nil {
		release()
		return nil, err
	}
	lr := &io.LimitedReader{R: r, N: n}
	return &Upload{Reader: lr, close: func() {
		p.stats.uploaded.Add(n - lr.N)
		_ = r.Close()
		release()
	}}, nil
}

// openVerified opens [off, off+n) of a blob, of which every byte has been
// verified, positioned at off.
func (p *Peer) openVerified(ctx context.Context, dg piece.Digest, off, n int64) (io.ReadSeekCloser, error) {
	var r io.ReadSeekCloser
	var err error
	if d := p.running(dg); d != nil {
		r, err = d.openVerified(off, n)
	} else {
		err = ErrNotHeld
	}
	if errors.Is(err, ErrNotHeld) {
		r, err = p.openHeld(ctx, dg, off, n)
	}
	if err != nil {
		return nil, err
	}
	if _, err := r.Seek(off, io.SeekStart); err != nil {
		_ = r.Close()
		return nil, fmt.Errorf("upload of %s: %w", dg.Short(), err)
	}
	return r, nil
}

func (p *Peer) openHeld(ctx context.Context, dg piece.Digest, off, n int64) (io.ReadSeekCloser, error) {
	blob, err := p.cfg.Store.Open(dg)
	if err != nil {
		return nil, ErrNotHeld
	}
	defer blob.Close()
	if off < 0 || n <= 0 || off > blob.Size()-n {
		return nil, ErrNotHeld
	}
	if err := p.check(ctx, dg, blob, off, n); err != nil {
		return nil, err
	}
	return blob.NewReader()
}
