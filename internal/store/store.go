package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// DefaultCapacity holds several large images and still fits a node with
	// a disk of 100 GB. On a smaller disk the disk itself is the limit.
	DefaultCapacity = 32 << 30
	// bufferSize is how much is read, hashed and written at a time: large
	// enough that system calls do not count, small enough for the cache.
	bufferSize = 256 << 10
	// stampEvery is how often the last use of a blob is written to disk.
	// Eviction after a restart is wrong by this much at most.
	stampEvery = time.Minute
)

// Config is what a Store needs. The zero value of a field but Dir means its
// default.
type Config struct {
	// Dir is for this store alone. It is made if need be, mode 0700.
	Dir string
	// Capacity is how many bytes of blobs to keep, whole ones and those
	// still arriving; 0 means DefaultCapacity.
	Capacity int64
	// KeepFree is how many bytes of the file system are left to others,
	// even if that means less than Capacity: a kubelet evicts pods from a
	// node whose disk fills up. 0 means none.
	KeepFree int64
	// KeepFreeShare is the same as a share of the file system, 0 to 1. The
	// larger of both counts.
	KeepFreeShare float64
	// Gone is told of each whole blob that the store has no more, whatever for,
	// once Open has returned. No lock is held; it must not block for long. Nil:
	// nobody wants to know.
	Gone   func(piece.Digest)
	Logger *slog.Logger
}

// Store keeps blobs on disk. It implements peer.Store; besides what that
// promises, the ingest of a blob that is here whole has all pieces from the
// start, and its Commit succeeds. All methods may be called concurrently.
type Store struct {
	root    *os.Root
	lock    *os.File
	log     *slog.Logger
	buffers sync.Pool     // of *[]byte, bufferSize each
	hashers chan struct{} // holds one for each whole-blob hash that runs
	counts  counters
	fail    failpoints

	keepFree      int64
	keepFreeShare float64
	gone          func(piece.Digest) // Config.Gone, or does nothing

	mu     sync.Mutex // guards what follows
	index  index
	trash  int // files moved to the trash, to name the next
	closed bool
}

var _ peer.Store = (*Store)(nil)

// Open takes a directory for this process, cleans up after a crash and finds
// what is there. It starts no goroutine. The caller closes the Store.
func Open(cfg Config) (*Store, error) {
	root, lock, err := openDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		root: root, lock: lock, log: log, fail: newFailpoints(),
		// Hashing whole blobs must leave cores to those who move bytes.
		hashers:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
		keepFree: cfg.KeepFree, keepFreeShare: cfg.KeepFreeShare,
		gone:  func(piece.Digest) {}, // of what goes at the start nobody has heard
		index: newIndex(cmp.Or(cfg.Capacity, DefaultCapacity)),
	}
	s.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	if err := s.scan(); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	if cfg.Gone != nil {
		s.gone = cfg.Gone
	}
	return s, nil
}

// Close closes the ingests that are open, keeping what has arrived, and gives
// the directory back. Readers stay usable.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var open []*ingest
	for _, e := range s.index.entries {
		if e.ingest != nil {
			open = append(open, e.ingest)
		}
	}
	s.mu.Unlock()
	for _, in := range open {
		_ = in.Close() // always nil
	}
	return errors.Join(s.root.Close(), s.lock.Close())
}

// Open implements peer.Store.
func (s *Store) Open(d piece.Digest) (peer.Blob, error) {
	s.mu.Lock()
	e := s.index.entries[d]
	if s.closed || e == nil || !e.whole {
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("open blob %s: %w", d.Short(), peer.ErrNotHeld)
	}
	e.pins++
	s.index.touch(e)
	stamp := s.stampDue(e)
	s.mu.Unlock()

	if stamp {
		s.stamp(blobPath(d))
	}
	t, err := s.readTable(d)
	if err != nil {
		s.unpin(e)
		s.log.Warn("a blob's piece table is gone; dropping the blob", "blob", d.Short(), "err", err)
		_, _ = s.drop(d) // if it is in use, the next Open tries again
		return nil, fmt.Errorf("open blob %s: %w", d.Short(), peer.ErrNotHeld)
	}
	return &blob{s: s, e: e, claims: t.claims}, nil
}

// Has implements peer.Store.
func (s *Store) Has(d piece.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.index.entries[d]
	return e != nil && e.whole && !s.closed
}

// Held implements peer.Store.
func (s *Store) Held() []peer.Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.held()
}

// Evict removes a blob, whole or not. One that is not here is no error, one
// that somebody has open is ErrInUse.
func (s *Store) Evict(d piece.Digest) error {
	was, err := s.drop(d)
	if err != nil {
		return fmt.Errorf("evict blob %s: %w", d.Short(), err)
	}
	if was {
		s.counts.evictedOperator.Add(1)
	}
	return nil
}

// drop removes a blob and reports whether it was here.
func (s *Store) drop(d piece.Digest) (bool, error) {
	s.mu.Lock()
	e := s.index.entries[d]
	if e == nil || e.pins > 0 {
		s.mu.Unlock()
		if e == nil {
			return false, nil
		}
		return true, ErrInUse
	}
	out := s.discard(e)
	s.mu.Unlock()
	s.empty(out)
	return true, nil
}

// rubbish is what was discarded, until it is emptied.
type rubbish struct {
	files []string       // in the trash
	blobs []piece.Digest // that were whole
}

// evict makes room, and counts why; mu is held and the caller empties what it
// returns.
func (s *Store) evict(victims []*entry, why *atomic.Int64) rubbish {
	why.Add(int64(len(victims)))
	return s.discard(victims...)
}

// discard forgets blobs and moves their bytes into the trash, where empty
// finds them. To move is quick, so it happens under s.mu, which is held: no
// ingest of the same blob can begin in between. To remove a large file is not.
func (s *Store) discard(victims ...*entry) (out rubbish) {
	for _, e := range victims {
		s.index.remove(e)
		bytes, notes := partPath(e.digest), journalPath(e.digest)
		if e.whole {
			bytes, notes = blobPath(e.digest), tablePath(e.digest)
			out.blobs = append(out.blobs, e.digest)
		}
		s.trash++
		name := trashDir + "/" + e.digest.Hex() + "." + strconv.Itoa(s.trash)
		s.fail.at("evict")
		// The bytes first: notes without bytes are junk that the next
		// start removes.
		if err := s.root.Rename(bytes, name); err != nil {
			s.log.Warn("evict blob", "blob", e.digest.Short(), "err", err)
		} else {
			out.files = append(out.files, name)
		}
		s.fail.at("evict: bytes are in the trash")
		s.remove(notes)
	}
	return out
}

// empty removes the files of what was discarded, and says which blobs are gone;
// mu is not held.
func (s *Store) empty(out rubbish) {
	for _, d := range out.blobs {
		s.gone(d)
	}
	for _, name := range out.files {
		s.remove(name)
	}
}

// remove removes a file that nobody needs. If that fails, the next start
// tries again.
func (s *Store) remove(name string) {
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("remove file of the store", "file", name, "err", err)
	}
}

func (s *Store) unpin(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.pins--
}

// stampDue reports whether the last use of e should go to disk; mu is held.
func (s *Store) stampDue(e *entry) bool {
	now := time.Now()
	if now.Sub(e.stamped) < stampEvery {
		return false
	}
	e.stamped = now
	return true
}

// stamp writes down that a file was used now, so that the order of eviction
// survives a restart. Losing it costs no more than that.
func (s *Store) stamp(name string) {
	now := time.Now()
	if err := s.root.Chtimes(name, now, now); err != nil {
		s.log.Debug("stamp file of the store", "file", name, "err", err)
	}
}

func (s *Store) readTable(d piece.Digest) (table, error) {
	p, err := s.root.ReadFile(tablePath(d))
	if err != nil {
		return table{}, err
	}
	t, err := parseTable(p)
	if err == nil && t.digest != d {
		err = fmt.Errorf("%w: it is of blob %s", errTable, t.digest.Short())
	}
	return t, err
}

// noSpace makes a full disk, or a full quota, recognisable as such.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", peer.ErrNoSpace, err)
	}
	return err
}

// unwritable makes what keeps bytes from being written recognisable: a disk that is full,
// or one that fails.
func unwritable(err error) error {
	if err = noSpace(err); err == nil || errors.Is(err, peer.ErrNoSpace) || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", peer.ErrDisk, err)
}
