package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// errFrame is wrapped by every error about a malformed frame.
var errFrame = errors.New("malformed frame")

// parseFrame reads the type and body of one frame, as frame.go lays them out.
// All of p must be used up. What it returns shares nothing with p, and
// Offer.From has no ID.
func parseFrame(p []byte) (peer.Message, error) {
	c := &cursor{rest: p}
	var m peer.Message
	var err error
	switch typ := c.uint8(); typ {
	case typeOffer:
		m, err = parseOffer(c)
	case typeHave:
		m, err = parseHave(c)
	case typeBye:
		m = peer.Bye{Digest: c.digest()}
	default:
		return nil, fmt.Errorf("%w: type %d", errFrame, typ)
	}
	switch {
	case err != nil:
		return nil, err
	case c.short:
		return nil, fmt.Errorf("%w: %T is cut short", errFrame, m)
	case len(c.rest) > 0:
		return nil, fmt.Errorf("%w: %d bytes after %T", errFrame, len(c.rest), m)
	}
	return m, nil
}

func parseOffer(c *cursor) (peer.Offer, error) {
	var m peer.Offer
	flags := c.uint8()
	if flags&^(flagReply|flagTicket) != 0 {
		return m, fmt.Errorf("%w: offer with flags %#x", errFrame, flags)
	}
	m.Reply = flags&flagReply != 0
	m.Digest = c.digest()
	m.Size = int64(c.uint64())
	have := c.take(int(min(c.uint32(), maxFrame)))
	if c.short {
		return m, nil
	}
	var err error
	if m.Have, err = parsePieces(m.Size, have); err != nil {
		return m, err
	}
	// The claims must have arrived before there is room made for them.
	raw := c.take(m.Have.Count() * piece.DigestSize)
	if len(raw) > 0 {
		m.Claims = make([]piece.Digest, m.Have.Count())
	}
	for i := range m.Claims {
		copy(m.Claims[i][:], raw[i*piece.DigestSize:])
		if m.Claims[i].IsZero() {
			return m, errZeroClaim
		}
	}
	if m.From, err = parseSender(c); err != nil || flags&flagTicket == 0 {
		return m, err
	}
	n := int(c.uint16())
	m.Ticket = bytes.Clone(c.take(n))
	if !c.short && (n == 0 || n > maxTicket) {
		return m, fmt.Errorf("%w: ticket of %d bytes", errFrame, n)
	}
	return m, nil
}

// errZeroClaim: a zero digest means "not known" to the store, which would
// then take whatever bytes arrive.
var errZeroClaim = fmt.Errorf("%w: claim is zero", errFrame)

// parsePieces reads a bitfield and checks that it fits a blob of that size. A
// bitfield of no pieces stands for one with none set.
func parsePieces(size int64, wire []byte) (piece.Bitfield, error) {
	have, err := piece.ParseBitfield(wire)
	if err != nil {
		return have, fmt.Errorf("%w: %w", errFrame, err)
	}
	count := 0
	if size != scheduler.SizeUnknown {
		layout, err := piece.NewLayout(size)
		if err != nil {
			return have, fmt.Errorf("%w: %w", errFrame, err)
		}
		count = layout.Count()
	}
	if have.Len() == 0 {
		return piece.NewBitfield(count), nil
	}
	if have.Len() != count {
		return have, fmt.Errorf("%w: bitfield of %d pieces for a blob of %d", errFrame, have.Len(), count)
	}
	return have, nil
}

func parseSender(c *cursor) (scheduler.Peer, error) {
	var p scheduler.Peer
	n := int(c.uint8())
	if n > maxAddrs {
		return p, fmt.Errorf("%w: %d addresses", errFrame, n)
	}
	for range n {
		p.Addrs = append(p.Addrs, c.name())
	}
	p.Bulk, p.Zone, p.Rack = c.name(), c.name(), c.name()
	for _, s := range append([]string{p.Bulk, p.Zone, p.Rack}, p.Addrs...) {
		if !utf8.ValidString(s) {
			return p, fmt.Errorf("%w: %q is not UTF-8", errFrame, s)
		}
	}
	return p, nil
}

func parseHave(c *cursor) (peer.Have, error) {
	m := peer.Have{Digest: c.digest()}
	n := int(c.uint16())
	raw := c.take(n * claimSize)
	if c.short {
		return m, nil
	}
	if n == 0 {
		return m, fmt.Errorf("%w: have of no pieces", errFrame)
	}
	m.Pieces = make([]peer.Claim, n)
	for i := range m.Pieces {
		one := cursor{rest: raw[i*claimSize:]}
		index := one.uint32()
		if index >= piece.MaxPieces {
			return m, fmt.Errorf("%w: piece %d", errFrame, index)
		}
		m.Pieces[i] = peer.Claim{Index: int(index), Digest: one.digest()}
		if m.Pieces[i].Digest.IsZero() {
			return m, errZeroClaim
		}
	}
	return m, nil
}

// cursor reads a body from its front. Past the end it yields zeros and sets
// short, so that callers check once.
type cursor struct {
	rest  []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if c.short || n > len(c.rest) {
		c.short = true
		return nil
	}
	p := c.rest[:n]
	c.rest = c.rest[n:]
	return p
}

func (c *cursor) uint8() uint8 {
	if p := c.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if p := c.take(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if p := c.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if p := c.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (c *cursor) digest() (d piece.Digest) {
	copy(d[:], c.take(piece.DigestSize))
	return d
}

func (c *cursor) name() string { return string(c.take(int(c.uint8()))) }
