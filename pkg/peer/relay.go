package peer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// relayBuffer is what a relay holds: as much as is moved at a time anywhere
	// else, and all that is kept from the client until the blob has verified.
	relayBuffer = 256 << 10
	// maxRelays bounds the relays of a peer, and with them their memory and the
	// reads from the origin that nobody leases: 8 MiB and two dozen layers of
	// an image. Past it clients are told that there is no room, as they would
	// be without relays, and go to the origin themselves.
	maxRelays = 32
)

var (
	errManyRelays = errors.New("too many transfers past the store")
	errNoSize     = errors.New("the origin does not tell the size")
)

// relay is one reader's way past a store that has no room, or past a download
// that goes by another size than the reader's: bytes of the origin
// go through a buffer to the client and are kept nowhere. Nobody else is given
// any, so each relay costs the origin a reading, as if p2pd were not there.
//
// What is read from its first byte to its last ends only if the digest is
// right: the last bytes are held back until then. Who begins elsewhere gets what the
// origin sends, as readers of parts do (OpenRanges). A relay is for one
// goroutine.
type relay struct {
	p      *Peer
	ref    Ref
	ctx    context.Context // of the body; ends with the relay
	cancel context.CancelFunc

	body io.ReadCloser // nil before the first byte is asked for
	hash hash.Hash     // of [0, end); nil if the body did not begin at 0
	buf  []byte        // holds [start, end)
	// start and end are where the buffer's bytes lie in the blob.
	start, end int64
	closed     bool
}

// notKept reports whether a store could not take what a client waits for, which then
// goes past it.
func notKept(err error) bool { return errors.Is(err, ErrNoSpace) || errors.Is(err, ErrDisk) }

// relay opens a blob past the store, for a reason.
func (p *Peer) relay(ctx context.Context, ref Ref, why error) (*Content, error) {
	if ref.Source == nil {
		return nil, why
	}
	if p.stats.relays.Add(1) > maxRelays {
		p.stats.relays.Add(-1)
		return nil, fmt.Errorf("%w: %w", ErrNoSpace, errManyRelays)
	}
	r := &relay{p: p, ref: ref, buf: make([]byte, 0, relayBuffer)}
	r.ctx, r.cancel = context.WithCancel(p.ctx)
	if ref.Size == scheduler.SizeUnknown {
		if err := r.open(ctx, 0); err != nil {
			r.close()
			return nil, fmt.Errorf("relay blob %s: %w", ref.Digest.Short(), err)
		}
	}
	p.log.Info("the blob goes through to the client, and is not kept", "blob", ref.Digest.Short(), "why", why)
	return &Content{p: p, size: r.ref.Size, relay: r}, nil
}

// open begins to read at off; ctx bounds that alone.
func (r *relay) open(ctx context.Context, off int64) error {
	if r.body != nil {
		_ = r.body.Close()
		r.body = nil
	}
	defer context.AfterFunc(ctx, r.cancel)()
	body, size, err := r.ref.Source.Read(r.ctx, off, -1)
	if err != nil {
		return err
	}
	if r.ref.Size == scheduler.SizeUnknown {
		r.ref.Size = size
	}
	if size != scheduler.SizeUnknown && size != r.ref.Size || r.ref.Size < 0 {
		_ = body.Close()
		if r.ref.Size < 0 {
			return errNoSize
		}
		return &sizeError{size, r.ref.Size}
	}
	r.body, r.buf, r.start, r.end, r.hash = body, r.buf[:0], off, off, nil
	if off == 0 {
		r.hash = sha256.New()
	}
	return nil
}

// await returns how many bytes from off on are in the buffer, at least one.
func (r *relay) await(ctx context.Context, off int64) (int64, error) {
	if r.closed {
		return 0, ErrClosed
	}
	if off < r.start || off > r.end || r.body == nil {
		if err := r.open(ctx, off); err != nil {
			return 0, err
		}
	}
	if off == r.end {
		if err := r.fill(ctx); err != nil {
			return 0, err
		}
	}
	return r.end - off, nil
}

// fill reads what comes next into the buffer. With the last bytes of a whole
// reading it checks the digest, and gives none of them if it is wrong.
func (r *relay) fill(ctx context.Context) error {
	defer context.AfterFunc(ctx, r.cancel)()
	n := min(relayBuffer, r.ref.Size-r.end)
	r.start, r.buf = r.end, r.buf[:n]
	m, err := io.ReadFull(r.body, r.buf)
	r.p.arrived.Add(int64(m))
	r.p.stats.relayed.Add(int64(m))
	if err != nil {
		r.close() // what is in the buffer is not to be given
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("relay blob %s at %d: %w", r.ref.Digest.Short(), r.start, err)
	}
	r.end += n
	if r.hash == nil {
		return nil
	}
	r.hash.Write(r.buf)
	if got := piece.Digest(r.hash.Sum(nil)); r.end == r.ref.Size && got != r.ref.Digest {
		r.p.stats.falseBlobs.Add(1)
		r.close()
		return &piece.MismatchError{Want: r.ref.Digest, Got: got}
	}
	return nil
}

// write sends up to n bytes from off on, which are in the buffer.
func (r *relay) write(w io.Writer, off, n int64) (int64, error) {
	from := off - r.start
	m, err := w.Write(r.buf[from:min(from+n, int64(len(r.buf)))])
	return int64(m), err
}

// close ends the relay. Closing it again does nothing.
func (r *relay) close() {
	if r.closed {
		return
	}
	r.closed = true
	r.p.stats.relays.Add(-1)
	r.cancel()
	if r.body != nil {
		_ = r.body.Close()
	}
	r.body, r.buf, r.start, r.end = nil, nil, 0, 0
}
