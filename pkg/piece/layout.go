package piece

import (
	"fmt"
	"math/bits"
)

const (
	// MinSize is the smallest piece: below 1 MiB the cost of a request
	// begins to show in CPU a byte.
	MinSize = 1 << 20
	// MaxSize is the largest piece: a peer can pass on nothing of a piece
	// that it has not finished, so larger pieces slow the whole swarm.
	MaxSize = 16 << 20
	// targetCount is how many pieces a blob is cut into between the two. Nobody
	// can pass on what it does not have, so a swarm begins at the pace at
	// which a piece doubles: with 512, ten thousand nodes lose a
	// twentieth of the whole to that (docs/adr/0018).
	targetCount = 512
	// MaxBlobSize bounds what a layout accepts. 1 TiB is far above any layer
	// that registries take and keeps the piece count below 65,536.
	MaxBlobSize = 1 << 40
)

// Layout says how a blob of one size is cut into pieces. All pieces are
// equally long but the last. It is a pure function of the size, so two peers
// cannot disagree. The zero value is the layout of the empty blob.
type Layout struct {
	size  int64
	shift uint8 // a piece is 1<<shift bytes
}

// NewLayout cuts a blob of size bytes. It fails on a negative size and on
// one above MaxBlobSize.
func NewLayout(size int64) (Layout, error) {
	if size < 0 || size > MaxBlobSize {
		return Layout{}, fmt.Errorf("blob size %d is not in 0..%d", size, int64(MaxBlobSize))
	}
	per := uint64(size+targetCount-1) / targetCount
	per = min(max(per, MinSize), MaxSize)
	return Layout{size: size, shift: uint8(bits.Len64(per - 1))}, nil
}

// Size is the blob's length in bytes.
func (l Layout) Size() int64 { return l.size }

// PieceSize is the length of every piece but the last, in bytes.
func (l Layout) PieceSize() int64 { return 1 << l.shift }

// Count is the number of pieces; 0 for the empty blob.
func (l Layout) Count() int {
	return int((l.size + l.PieceSize() - 1) >> l.shift)
}

// Bounds is where piece i lies: its first byte and its length.
// It panics if there is no piece i, as indexing a slice does.
func (l Layout) Bounds(i int) (off, length int64) {
	if i < 0 || i >= l.Count() {
		panic(fmt.Sprintf("piece %d of %d", i, l.Count()))
	}
	off = int64(i) << l.shift
	return off, min(l.PieceSize(), l.size-off)
}

// Index is the piece that holds byte off, for 0 <= off < Size.
func (l Layout) Index(off int64) int { return int(off >> l.shift) }

// Covering is the run of pieces that hold the bytes [off, off+n), cut to
// the blob.
func (l Layout) Covering(off, n int64) Range {
	if n <= 0 || off >= l.size {
		return Range{}
	}
	end := min(off+n, l.size)
	return Range{First: l.Index(off), End: l.Index(end-1) + 1}
}

// Span is the bytes that the pieces of r cover: first byte and length.
func (l Layout) Span(r Range) (off, length int64) {
	if r.Len() == 0 {
		return 0, 0
	}
	off = int64(r.First) << l.shift
	return off, min(int64(r.End)<<l.shift, l.size) - off
}

// Range is a run of pieces, First included, End excluded.
type Range struct{ First, End int }

// Len is the number of pieces in the run.
func (r Range) Len() int { return max(0, r.End-r.First) }

// Contains reports whether piece i is in the run.
func (r Range) Contains(i int) bool { return r.First <= i && i < r.End }

// String prints pieces as people count runs: "3..7" holds 3 to 6.
func (r Range) String() string { return fmt.Sprintf("%d..%d", r.First, r.End) }
