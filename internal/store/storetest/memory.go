// Package storetest holds what tests need of a store: Memory, a small working
// peer.Store without files, and Run, the suite that it and the disk store
// both pass.
package storetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/p2pd/p2pd/internal/store"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Memory is a peer.Store in memory. It runs no goroutine, holds no lock while
// it reads from a caller's reader, and waits on channels alone, so it can be
// used in a testing/synctest bubble.
type Memory struct {
	// Gone is what store.Config's is; set it before the store is used.
	Gone func(piece.Digest)

	mu       sync.Mutex // guards what follows and what all entries hold
	capacity int64
	used     int64
	uses     uint64 // counts uses, to know which was last
	entries  map[piece.Digest]*entry
	gone     []piece.Digest // that Gone is to be told of
}

// entry is one blob, whole or not.
type entry struct {
	digest  piece.Digest
	layout  piece.Layout
	content *content
	have    piece.Bitfield
	claims  []piece.Digest
	// forgets counts Forget, so that Verify notices one that came while it
	// was hashing.
	forgets   int
	proven    bool // the whole digest was right
	whole     bool // committed
	ingesting bool
	pins      int
	lastUse   uint64
}

// NewMemory is an empty store for capacity bytes; 0 means no limit.
func NewMemory(capacity int64) *Memory {
	return &Memory{capacity: capacity, entries: make(map[piece.Digest]*entry)}
}

var _ peer.Store = (*Memory)(nil)

// Open implements peer.Store.
func (m *Memory) Open(d piece.Digest) (peer.Blob, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[d]
	if e == nil || !e.whole {
		return nil, fmt.Errorf("open blob %s: %w", d.Short(), peer.ErrNotHeld)
	}
	m.touch(e)
	e.pins++
	return &blob{m: m, e: e}, nil
}

// Has implements peer.Store.
func (m *Memory) Has(d piece.Digest) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[d]
	return e != nil && e.whole
}

// Held implements peer.Store.
func (m *Memory) Held() []peer.Held {
	m.mu.Lock()
	defer m.mu.Unlock()
	var whole []*entry
	for _, e := range m.entries {
		if e.whole {
			whole = append(whole, e)
		}
	}
	slices.SortFunc(whole, func(a, b *entry) int { return cmp.Compare(b.lastUse, a.lastUse) })
	held := make([]peer.Held, len(whole))
	for i, e := range whole {
		held[i] = peer.Held{Digest: e.digest, Size: e.layout.Size()}
	}
	return held
}

// Ingest implements peer.Store. The ingest of a blob that is here whole has
// all pieces from the start.
func (m *Memory) Ingest(ctx context.Context, d piece.Digest, l piece.Layout) (peer.Ingest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.unlock()
	e := m.entries[d]
	switch {
	case e != nil && e.ingesting:
		return nil, fmt.Errorf("ingest blob %s: %w", d.Short(), store.ErrIngestOpen)
	case e != nil && e.whole && e.layout != l:
		return nil, fmt.Errorf("ingest blob %s: it has %d bytes, not %d", d.Short(), e.layout.Size(), l.Size())
	case e != nil && e.layout != l:
		m.drop(e)
		e = nil
	}
	if e == nil {
		if err := m.reserve(l.Size()); err != nil {
			return nil, fmt.Errorf("ingest blob %s of %d bytes: %w", d.Short(), l.Size(), err)
		}
		e = &entry{
			digest: d, layout: l, content: newContent(l.Size()),
			have: piece.NewBitfield(l.Count()), claims: make([]piece.Digest, l.Count()),
		}
		m.entries[d] = e
		m.used += l.Size()
	}
	m.touch(e)
	e.ingesting = true
	e.pins++
	return &ingest{m: m, e: e, busy: make(map[int]chan struct{})}, nil
}

// Evict removes a blob, whole or not. One that is not here is no error, one
// that is pinned is store.ErrInUse.
func (m *Memory) Evict(d piece.Digest) error {
	m.mu.Lock()
	defer m.unlock()
	e := m.entries[d]
	if e == nil {
		return nil
	}
	if e.pins > 0 {
		return fmt.Errorf("evict blob %s: %w", d.Short(), store.ErrInUse)
	}
	m.drop(e)
	return nil
}

// reserve makes room for size bytes: what never became whole goes first, then
// what was used longest ago. m.mu is held.
func (m *Memory) reserve(size int64) error {
	if m.capacity == 0 {
		return nil
	}
	var loose []*entry
	free := m.capacity - m.used
	for _, e := range m.entries {
		if e.pins == 0 {
			loose = append(loose, e)
			free += e.layout.Size()
		}
	}
	if free < size {
		return peer.ErrNoSpace
	}
	slices.SortFunc(loose, func(a, b *entry) int {
		if a.whole != b.whole {
			if b.whole {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.lastUse, b.lastUse)
	})
	for _, e := range loose {
		if m.used+size <= m.capacity {
			break
		}
		m.drop(e)
	}
	return nil
}

func (m *Memory) drop(e *entry) {
	delete(m.entries, e.digest)
	m.used -= e.layout.Size()
	if e.whole && m.Gone != nil {
		m.gone = append(m.gone, e.digest)
	}
}

// unlock ends what may have dropped blobs, and then tells of them.
func (m *Memory) unlock() {
	gone := m.gone
	m.gone = nil
	m.mu.Unlock()
	for _, d := range gone {
		m.Gone(d)
	}
}

func (m *Memory) touch(e *entry) {
	m.uses++
	e.lastUse = m.uses
}
