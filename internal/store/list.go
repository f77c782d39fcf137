package store

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Listed is one blob of a Store, for people.
type Listed struct {
	Digest piece.Digest
	Size   int64
	Whole  bool
	InUse  bool
	Spare  bool      // demoted
	Used   time.Time // right to stampEvery
}

// List is all that is here, newest use first.
func (s *Store) List() []Listed {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries := make([]*entry, 0, len(s.index.entries))
	for _, e := range s.index.entries {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(b.lastUse, a.lastUse) })
	all := make([]Listed, 0, len(entries))
	for _, e := range entries {
		all = append(all, Listed{Digest: e.digest, Size: e.size, Whole: e.whole, InUse: e.pins > 0, Spare: e.spare, Used: e.stamped})
	}
	return all
}
