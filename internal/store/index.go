package store

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// maxEntries bounds the index and the files, whatever their size. An entry
// takes some 300 bytes here and two inodes on the disk; a node that runs ten
// thousand images has fewer blobs than this.
const maxEntries = 1 << 17

// index knows which blobs are here and which of them has to go for another.
// It does no I/O and locks nothing; Store.mu guards it.
type index struct {
	capacity int64
	entries  map[piece.Digest]*entry
	uses     uint64 // counts uses, to know which was last
	whole    total
	partial  total
}

type total struct {
	bytes int64
	count int
}

// entry is one blob, whole or not.
type entry struct {
	digest  piece.Digest
	size    int64
	whole   bool
	spare   bool // somebody else keeps it, too: Store.Demote
	pins    int  // open blobs, and the open ingest; above 0 it must stay
	lastUse uint64
	stamped time.Time // when the time of last use was last written to disk
	ingest  *ingest   // nil if none is open
	// unproven are the pieces of a whole blob that nobody has looked at since
	// the store was opened; nil if there are none. Store.mu guards what it
	// points to.
	unproven atomic.Pointer[piece.Bitfield]
}

func newIndex(capacity int64) index {
	return index{capacity: capacity, entries: make(map[piece.Digest]*entry)}
}

// add takes a blob in as the one used last. There must be none of its digest.
func (x *index) add(e *entry) {
	x.entries[e.digest] = e
	x.touch(e)
	x.tally(e, 1)
}

func (x *index) remove(e *entry) {
	delete(x.entries, e.digest)
	x.tally(e, -1)
}

// promote turns what was partial into a whole blob.
func (x *index) promote(e *entry) {
	x.tally(e, -1)
	e.whole, e.stamped = true, time.Now() // it was written just now
	x.tally(e, 1)
	x.touch(e)
}

func (x *index) touch(e *entry) {
	x.uses++
	e.lastUse = x.uses
}

func (x *index) tally(e *entry, sign int) {
	t := &x.partial
	if e.whole {
		t = &x.whole
	}
	t.bytes += int64(sign) * e.size
	t.count += sign
}

// loose is what may be evicted, in the order in which it should be: what is
// kept elsewhere, too, first, then what never became whole, as nobody can be
// served all of it, then what was used longest ago.
func (x *index) loose() []*entry {
	var out []*entry
	for _, e := range x.entries {
		if e.pins == 0 {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int {
		switch {
		case a.spare != b.spare:
			if a.spare {
				return -1
			}
			return 1
		case a.whole == b.whole:
			return cmp.Compare(a.lastUse, b.lastUse)
		case b.whole:
			return -1
		default:
			return 1
		}
	})
	return out
}

// victims is what has to go so that one more blob of size bytes fits and
// shortage bytes come free. It is false, and nothing has to go, if that
// cannot be reached whatever goes.
func (x *index) victims(size, shortage int64) ([]*entry, bool) {
	used := x.whole.bytes + x.partial.bytes
	count := len(x.entries)
	enough := min(x.capacity-size, used-shortage)
	fits := func() bool { return used <= enough && count < maxEntries }
	if fits() {
		return nil, true // the usual case, without a sort
	}
	loose := x.loose()
	for n, e := range loose {
		used -= e.size
		count--
		if fits() {
			return loose[:n+1], true
		}
	}
	return nil, false
}

// held lists the whole blobs, newest use first.
func (x *index) held() []peer.Held {
	whole := make([]*entry, 0, x.whole.count)
	for _, e := range x.entries {
		if e.whole {
			whole = append(whole, e)
		}
	}
	slices.SortFunc(whole, func(a, b *entry) int { return cmp.Compare(b.lastUse, a.lastUse) })
	out := make([]peer.Held, len(whole))
	for i, e := range whole {
		out[i] = peer.Held{Digest: e.digest, Size: e.size}
	}
	return out
}
