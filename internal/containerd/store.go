package containerd

import (
	"context"
	"errors"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Store is our own store with containerd's content beneath it. It implements
// peer.Store: a blob is opened in containerd if it is there, so that our own
// copy ages, and received into our own.
type Store struct {
	own     Copies
	content *Content
}

var _ peer.Store = (*Store)(nil)

// NewStore joins the two. It owns neither.
func NewStore(own Copies, content *Content) *Store { return &Store{own: own, content: content} }

// Open implements peer.Store.
func (s *Store) Open(d piece.Digest) (peer.Blob, error) {
	b, err := s.content.Open(d)
	if errors.Is(err, peer.ErrNotHeld) {
		return s.own.Open(d)
	}
	return b, err
}

// Has implements peer.Store.
func (s *Store) Has(d piece.Digest) bool { return s.content.Has(d) || s.own.Has(d) }

// Ingest implements peer.Store.
func (s *Store) Ingest(ctx context.Context, d piece.Digest, l piece.Layout) (peer.Ingest, error) {
	return s.own.Ingest(ctx, d, l)
}

// Held implements peer.Store: what was used last on our own disk first, then
// what containerd has besides.
func (s *Store) Held() []peer.Held {
	held := s.own.Held()
	known := make(map[piece.Digest]bool, len(held))
	for _, h := range held {
		known[h.Digest] = true
	}
	for _, h := range s.content.Held() {
		if !known[h.Digest] {
			held = append(held, h)
		}
	}
	return held
}
