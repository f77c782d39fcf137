package store

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/p2pd/p2pd/pkg/piece"
)

// ingest is a blob that is arriving. The idea of each file: begin.go how it
// starts and resumes; receive.go how bytes come in; prefix.go the digest of
// the whole, while they do; commit.go the end.
//
// Locks are taken in the order of the fields.
type ingest struct {
	s      *Store
	e      *entry
	digest piece.Digest
	layout piece.Layout

	life    sync.Mutex // held by the beginning, Commit and Close: one at a time
	journal journal
	hashing sync.WaitGroup // the goroutine of prefix; Close waits for it

	// files is held shared while a file is used by name or the bytes of the
	// ingest are touched, exclusively to rename or close. So nothing is
	// written after Close, when another ingest of the blob may have begun.
	files sync.RWMutex
	part  *os.File // nil before the beginning and after the end
	whole bool     // the bytes have the name of a whole blob

	mu     sync.Mutex // guards what follows; no I/O under it
	have   piece.Bitfield
	claims []piece.Digest        // one a piece; counts only if have has it
	busy   map[int]chan struct{} // a Receive works on it; closed when it ends
	proven bool                  // the digest of the whole was right
	closed bool
	prefix prefix
}

func newIngest(s *Store, e *entry, l piece.Layout) *ingest {
	return &ingest{
		s: s, e: e, digest: e.digest, layout: l, whole: e.whole,
		have:   piece.NewBitfield(l.Count()),
		claims: make([]piece.Digest, l.Count()),
		busy:   make(map[int]chan struct{}),
		prefix: newPrefix(),
	}
}

// Have implements peer.Ingest.
func (in *ingest) Have() piece.Bitfield {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.have.Clone()
}

// Claim implements peer.Ingest.
func (in *ingest) Claim(i int) piece.Digest {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.claim(i)
}

// claim is Claim; mu is held.
func (in *ingest) claim(i int) piece.Digest {
	if !in.have.Has(i) {
		return piece.Digest{}
	}
	return in.claims[i]
}

// Forget implements peer.Ingest. A piece of a blob that verified cannot be
// false; to forget one is ErrProven.
func (in *ingest) Forget(i int) error {
	in.journal.mu.Lock()
	defer in.journal.mu.Unlock()
	in.mu.Lock()
	var err error
	had := false
	switch {
	case in.proven:
		err = fmt.Errorf("forget piece %d: %w", i, ErrProven)
	case in.closed:
		err = ErrClosed
	default:
		if had = in.have.Clear(i); had {
			in.prefix.forget(i)
		}
	}
	in.mu.Unlock()
	if had {
		in.record(i, piece.Digest{})
	}
	return err
}

// record notes in the journal what piece i now is; journal.mu is held. A
// record that cannot be written costs the piece after a restart, no more.
func (in *ingest) record(i int, claim piece.Digest) {
	if err := in.journal.append(i, claim); err != nil {
		in.s.log.Warn("note piece in journal", "blob", in.digest.Short(), "piece", i, "err", err)
	}
}

// NewReader implements peer.Ingest. The reader is an *os.File. After Commit
// it works for as long as the blob is here, even when the ingest is closed.
func (in *ingest) NewReader() (io.ReadSeekCloser, error) {
	in.files.RLock()
	defer in.files.RUnlock()
	switch {
	case in.whole:
		return in.s.openWhole(in.digest)
	case in.part == nil:
		return nil, ErrClosed
	}
	f, err := in.s.root.Open(partPath(in.digest))
	return file(in.digest, f, err)
}

// Close implements peer.Ingest. It does not wait for a Receive that waits for
// bytes; that one fails when they come.
func (in *ingest) Close() error {
	in.mu.Lock()
	again := in.closed
	in.closed = true
	in.mu.Unlock()
	in.life.Lock()
	defer in.life.Unlock()
	if again {
		return nil
	}
	in.hashing.Wait()
	in.journal.close()
	in.files.Lock()
	if in.part != nil {
		_ = in.part.Close() // what counts was synced by Commit
		in.part = nil
	}
	in.files.Unlock()

	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	in.e.ingest = nil
	in.e.pins--
	return nil
}
