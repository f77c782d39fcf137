package peer

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/p2pd/p2pd/pkg/piece"
)

// board is what a download shows to its readers and to uploads: the one part
// of its state that others may look at. The download's loop writes it.
type board struct {
	mu     sync.Mutex // guards what follows
	layout piece.Layout
	ingest Ingest // nil until the size is known and the store has room
	have   piece.Bitfield
	// generation grows when bytes that were readable turn out false.
	generation int
	// fromPeers and fromOrigin are the bytes that have come and are verified.
	fromPeers, fromOrigin int64
	verified              bool  // the digest of the whole blob has been checked
	err                   error // why the download failed
	ending                bool  // no reader may attach any more
	readers               map[*position]struct{}
	changed               chan struct{} // closed and replaced at each change

	// promised is when a neighbour was last heard of that has something, or is
	// busy, in Unix nanoseconds. It is not guarded by mu.
	promised atomic.Int64
	// patient: there are readers, and all of them have time. It is written with
	// readers, and read without mu.
	patient atomic.Bool
}

// position is how far a reader has got, in bytes.
type position struct {
	off   atomic.Int64
	parts []Span // what it reads; nil: all
	// patient says that it only wants the blob here, and reads none of it.
	patient bool
}

func newBoard() *board {
	return &board{changed: make(chan struct{}), readers: make(map[*position]struct{})}
}

// update changes the board under its lock and wakes everybody who waits.
func (b *board) update(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

// attach adds a reader, unless the download is ending.
func (b *board) attach(pos *position) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ending {
		return false
	}
	b.readers[pos] = struct{}{}
	b.noticePatience()
	return true
}

func (b *board) detach(pos *position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.readers, pos)
	b.noticePatience()
}

// noticePatience looks at the readers anew; mu is held.
func (b *board) noticePatience() {
	patient := len(b.readers) > 0
	for pos := range b.readers {
		patient = patient && pos.patient
	}
	b.patient.Store(patient)
}

// slowest is the offset of the reader that is furthest behind, and how many
// readers there are. Those that are patient wait at no place.
func (b *board) slowest() (off int64, readers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := true
	for p := range b.readers {
		if o := p.off.Load(); !p.patient && (first || o < off) {
			off, first = o, false
		}
	}
	return off, len(b.readers)
}

// size is the blob's as the download goes by it, or byDefault while it has not
// begun.
func (b *board) size(byDefault int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ingest == nil {
		return byDefault
	}
	return b.layout.Size()
}

// readable is how many bytes may be read from off on. While the digest of
// the whole blob has not been checked, the last piece is held back: no
// client sees the end of a blob that is not what it asked for (G1). unproven
// is for readers of parts, who check for themselves (see OpenRanges).
func (b *board) readable(off int64, unproven bool) (n int64, generation int, changed <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	generation = b.generation
	if b.ingest == nil {
		return 0, generation, b.changed, b.err
	}
	if off >= b.layout.Size() {
		return 0, generation, b.changed, nil
	}
	limit := b.layout.Count()
	if !b.verified && !unproven {
		limit--
	}
	i := b.layout.Index(off)
	end := off
	for ; i < limit && b.have.Has(i); i++ {
		start, length := b.layout.Bounds(i)
		end = start + length
	}
	if end == off {
		return 0, generation, b.changed, b.err
	}
	return end - off, generation, b.changed, nil
}

// openVerified opens the bytes for an upload if all of [off, off+n) is here.
func (d *download) openVerified(off, n int64) (io.ReadSeekCloser, error) {
	b := d.board
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ingest == nil || off < 0 || n <= 0 || off > b.layout.Size()-n {
		return nil, ErrNotHeld
	}
	run := b.layout.Covering(off, n)
	for i := run.First; i < run.End; i++ {
		if !b.have.Has(i) {
			return nil, ErrNotHeld
		}
	}
	return b.ingest.NewReader()
}
