package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Span is the bytes [Off, Off+N) of a blob. N is not 0.
type Span struct{ Off, N int64 }

// errOutside is for readers of parts that ask for other bytes.
var errOutside = errors.New("not among the parts that were opened")

// OpenRanges is Open for somebody who reads these parts alone, as snapshotters
// do that mount a layer before it is here. A blob that is here, or that is
// being fetched whole, is served from that. Else only the pieces that parts
// touch are fetched (partial.go), until somebody opens the blob whole. Parts
// may end past the blob's end. Without parts only the size is found out, and
// nothing is fetched at all.
//
// Readers of parts get every byte as soon as its piece is here, the last piece
// too, although nobody has seen the whole blob. So what they get is what the
// origin gave this node, or what a neighbour claims that the origin gave it:
// each piece is checked against its claim, but claims are proven only when all
// of them are here and add up to the blob's digest. Clients that mount layers
// check the chunks that they read against digests of their own (the table of
// contents of an eStargz, a SOCI index, a nydus bootstrap); one that does not
// must read the blob whole. Parts that touch all pieces are such a read: there
// the last piece waits for the digest, as with Open.
func (p *Peer) OpenRanges(ctx context.Context, ref Ref, parts []Span) (*Content, error) {
	if len(parts) > 0 {
		return p.open(ctx, ref, parts)
	}
	return p.openSize(ctx, ref)
}

// openSize opens a blob for its size. Asking the origin is cheap, and a
// download would reserve room in the store: so there is one only where the
// origin does not tell, and somebody in the swarm may.
func (p *Peer) openSize(ctx context.Context, ref Ref) (*Content, error) {
	blob, err := p.cfg.Store.Open(ref.Digest)
	if err == nil {
		return p.openWhole(ref.Digest, blob)
	}
	if ref.Size == scheduler.SizeUnknown && ref.Source != nil && p.running(ref.Digest) == nil {
		ref.Size, err = ref.Source.Stat(ctx)
		if refusal, ok := errors.AsType[*OriginError](err); ok && refusal.final() {
			return nil, fmt.Errorf("size of blob %s: %w", ref.Digest.Short(), err)
		}
		if err != nil {
			ref.Size = scheduler.SizeUnknown
		}
	}
	if ref.Size == scheduler.SizeUnknown {
		return p.open(ctx, ref, []Span{})
	}
	return &Content{p: p, size: ref.Size, pos: &position{parts: []Span{}}}, nil
}

// covers reports whether a reader may read byte off.
func (p *position) covers(off int64) bool {
	if p.parts == nil {
		return true
	}
	for _, s := range p.parts {
		if off >= s.Off && off-s.Off < s.N {
			return true
		}
	}
	return false
}

// all reports whether a reader needs every piece of the blob.
func (p *position) all(l piece.Layout) bool {
	if p.parts == nil {
		return true
	}
	touched := 0
	for _, s := range p.parts {
		touched += l.Covering(s.Off, s.N).Len()
	}
	if touched < l.Count() { // mostly, and it costs nothing
		return false
	}
	pieces := piece.NewBitfield(l.Count())
	p.mark(l, &pieces)
	return pieces.Full()
}

// mark sets the pieces that a reader of parts needs.
func (p *position) mark(l piece.Layout, pieces *piece.Bitfield) {
	for _, s := range p.parts {
		run := l.Covering(s.Off, s.N)
		for i := run.First; i < run.End; i++ {
			pieces.Set(i)
		}
	}
}

// wants is what the readers of parts need together, and whether any reader
// needs all. While the size is not known, pieces is empty.
func (b *board) wants() (pieces piece.Bitfield, all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.ingest != nil
	if known {
		pieces = piece.NewBitfield(b.layout.Count())
	}
	for pos := range b.readers {
		switch {
		case pos.parts == nil || known && pos.all(b.layout):
			all = true
		case known:
			pos.mark(b.layout, &pieces)
		}
	}
	return pieces, all
}
