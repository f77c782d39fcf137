package store

import "github.com/p2pd/p2pd/pkg/piece"

// Demote makes a blob the first to be evicted, because somebody else on this
// node keeps it, too. It holds for what is still arriving as well, and until
// Reinstate: neither use nor commit undoes it, but a restart does. A blob that
// is not here is no error.
func (s *Store) Demote(d piece.Digest) { s.setSpare(d, true) }

// Reinstate undoes Demote: from now on the blob's last use counts. A blob
// that is not here, or was not demoted, is no error.
func (s *Store) Reinstate(d piece.Digest) { s.setSpare(d, false) }

func (s *Store) setSpare(d piece.Digest, spare bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.index.entries[d]; e != nil {
		e.spare = spare
	}
}
