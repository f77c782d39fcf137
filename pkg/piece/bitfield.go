package piece

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
)

// MaxPieces is the most pieces that any layout can have.
const MaxPieces = MaxBlobSize / MaxSize

// Bitfield says which pieces of one blob somebody has. The zero value has no
// pieces. It is not safe for use by several goroutines at once.
type Bitfield struct {
	n     int
	count int
	words []uint64
}

// NewBitfield is a bitfield of n pieces, none of them set.
// It panics outside 0..MaxPieces; layouts never ask for that.
func NewBitfield(n int) Bitfield {
	if n < 0 || n > MaxPieces {
		panic(fmt.Sprintf("bitfield of %d pieces", n))
	}
	return Bitfield{n: n, words: make([]uint64, (n+63)/64)}
}

// FullBitfield is a bitfield of n pieces, all of them set.
func FullBitfield(n int) Bitfield {
	b := NewBitfield(n)
	for i := range n {
		b.Set(i)
	}
	return b
}

// Len is the number of pieces the blob has.
func (b *Bitfield) Len() int { return b.n }

// Count is the number of pieces set.
func (b *Bitfield) Count() int { return b.count }

// Full reports whether all pieces are set. The empty blob is always full.
func (b *Bitfield) Full() bool { return b.count == b.n }

// Has reports whether piece i is set; false outside the blob.
func (b *Bitfield) Has(i int) bool {
	return i >= 0 && i < b.n && b.words[i>>6]&(1<<(i&63)) != 0
}

// Set marks piece i and reports whether that changed anything. It panics
// outside the blob.
func (b *Bitfield) Set(i int) bool {
	if i < 0 || i >= b.n {
		panic(fmt.Sprintf("set piece %d of %d", i, b.n))
	}
	if b.Has(i) {
		return false
	}
	b.words[i>>6] |= 1 << (i & 63)
	b.count++
	return true
}

// Clear unmarks piece i and reports whether that changed anything.
func (b *Bitfield) Clear(i int) bool {
	if !b.Has(i) {
		return false
	}
	b.words[i>>6] &^= 1 << (i & 63)
	b.count--
	return true
}

// Clone is a copy that shares nothing with b.
func (b *Bitfield) Clone() Bitfield {
	c := *b
	c.words = append([]uint64(nil), b.words...)
	return c
}

// All yields the pieces that are set, in order.
func (b *Bitfield) All() iter.Seq[int] { return b.From(0) }

// Ranges yields the runs of pieces that are set, in order.
func (b *Bitfield) Ranges() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		for i := 0; i < b.n; {
			if !b.Has(i) {
				i++
				continue
			}
			r := Range{First: i}
			for i < b.n && b.Has(i) {
				i++
			}
			r.End = i
			if !yield(r) {
				return
			}
		}
	}
}

// ErrBitfield is wrapped by every error of ParseBitfield.
var ErrBitfield = errors.New("malformed bitfield")

// Wire form of a bitfield:
//
//	offset  size  meaning
//	0       4     number of pieces n, big-endian
//	4       ⌈n/8⌉ one bit a piece; piece i is bit i%8 (lowest first) of byte i/8
//
// Bits at and above n in the last byte are zero.
const bitfieldHeader = 4

// Append appends the wire form of b to dst.
func (b *Bitfield) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.n))
	for i := range (b.n + 7) / 8 {
		dst = append(dst, byte(b.words[i>>3]>>((i&7)*8)))
	}
	return dst
}

// ParseBitfield reads the wire form. All of p must be used up.
func ParseBitfield(p []byte) (Bitfield, error) {
	if len(p) < bitfieldHeader {
		return Bitfield{}, fmt.Errorf("%w: %d bytes", ErrBitfield, len(p))
	}
	n := int64(binary.BigEndian.Uint32(p))
	p = p[bitfieldHeader:]
	if n > MaxPieces || int64(len(p)) != (n+7)/8 {
		return Bitfield{}, fmt.Errorf("%w: %d pieces in %d bytes", ErrBitfield, n, len(p))
	}
	b := NewBitfield(int(n))
	for i, c := range p {
		b.words[i>>3] |= uint64(c) << ((i & 7) * 8)
		b.count += bits.OnesCount8(c)
	}
	if rest := b.n & 63; rest != 0 && b.words[len(b.words)-1]>>rest != 0 {
		return Bitfield{}, fmt.Errorf("%w: bits set above piece %d", ErrBitfield, b.n)
	}
	return b, nil
}

// Common yields the pieces from i on that are set in both b and o, in order.
// One may be longer than the other.
func (b *Bitfield) Common(o *Bitfield, i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		i := max(i, 0)
		for w := i >> 6; w < min(len(b.words), len(o.words)); w++ {
			word := b.words[w] & o.words[w]
			if w == i>>6 {
				word &= ^uint64(0) << (i & 63)
			}
			for ; word != 0; word &= word - 1 {
				if !yield(w<<6 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// From yields the pieces from i on that are set, in order.
func (b *Bitfield) From(i int) iter.Seq[int] {
	return func(yield func(int) bool) {
		i := max(i, 0)
		for w := i >> 6; w < len(b.words); w++ {
			word := b.words[w]
			if w == i>>6 {
				word &= ^uint64(0) << (i & 63)
			}
			for ; word != 0; word &= word - 1 {
				if !yield(w<<6 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}
