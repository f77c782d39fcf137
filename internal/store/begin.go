package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Ingest implements peer.Store. A second open ingest of a blob fails with
// ErrIngestOpen. What another ingest of the blob left is resumed if it had
// the same size, dropped otherwise.
func (s *Store) Ingest(ctx context.Context, d piece.Digest, l piece.Layout) (peer.Ingest, error) {
	in, err := s.begin(ctx, d, l)
	if err != nil {
		return nil, fmt.Errorf("ingest blob %s of %d bytes: %w", d.Short(), l.Size(), err)
	}
	return in, nil
}

func (s *Store) begin(ctx context.Context, d piece.Digest, l piece.Layout) (*ingest, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	in, fresh, out, err := s.admit(d, l)
	s.mu.Unlock()
	s.empty(out)
	if err != nil {
		return nil, s.refused(err)
	}
	// From here on nobody else can begin an ingest of the blob or evict it.
	// Store.Close waits for life.
	err = func() error {
		defer in.life.Unlock()
		switch {
		case in.whole:
			return in.adopt(ctx)
		case fresh:
			return in.create()
		default:
			return in.resume(ctx)
		}
	}()
	if err == nil {
		return in, nil
	}
	if ctx.Err() == nil {
		err = unwritable(err)
	}
	_ = in.Close() // always nil
	if fresh || in.whole {
		// There is nothing in it, or it has no table; the next ingest
		// begins anew. One that has begun already keeps what it has.
		_, _ = s.drop(d)
	}
	return nil, s.refused(err)
}

// refused counts an ingest that found no room.
func (s *Store) refused(err error) error {
	err = noSpace(err)
	if errors.Is(err, peer.ErrNoSpace) {
		s.counts.noSpace.Add(1)
	}
	return err
}

// admit reserves the room for an ingest and makes it the one of its blob; mu
// is held. The ingest comes with its life locked. The caller empties what is
// out, whatever err is, before it uses the room.
func (s *Store) admit(d piece.Digest, l piece.Layout) (in *ingest, fresh bool, out rubbish, err error) {
	if s.closed {
		return nil, false, out, ErrClosed
	}
	e := s.index.entries[d]
	switch {
	case e == nil:
	case e.ingest != nil:
		return nil, false, out, ErrIngestOpen
	case e.size == l.Size():
	case e.whole:
		return nil, false, out, fmt.Errorf("it is here and has %d bytes", e.size)
	default:
		out = s.discard(e)
		e = nil
	}
	if e == nil {
		shortage, why := s.shortage(l.Size()), &s.counts.evictedCapacity
		if shortage > 0 {
			why = &s.counts.evictedDisk
		}
		victims, ok := s.index.victims(l.Size(), shortage)
		if !ok {
			return nil, false, out, peer.ErrNoSpace
		}
		evicted := s.evict(victims, why)
		out.files, out.blobs = append(out.files, evicted.files...), append(out.blobs, evicted.blobs...)
		e = &entry{digest: d, size: l.Size()}
		s.index.add(e)
		fresh = true
	}
	s.index.touch(e)
	in = newIngest(s, e, l)
	in.life.Lock() // nobody else knows it yet, so this does not wait
	e.ingest = in
	e.pins++
	return in, fresh, out, nil
}

// shortage is how many bytes must be evicted so that size more leave others
// on the file system what is kept for them.
func (s *Store) shortage(size int64) int64 {
	if s.keepFree == 0 && s.keepFreeShare == 0 {
		return 0
	}
	free, all, err := diskBytes(s.lock)
	if err != nil {
		s.log.Warn("ask the file system for free space", "err", err)
		return 0
	}
	return max(0, size+s.keep(all)-free)
}

// keep is how many bytes of a file system of that size are left to others.
func (s *Store) keep(all int64) int64 {
	return max(s.keepFree, int64(s.keepFreeShare*float64(all)))
}

// adopt makes the ingest of a blob that is here whole: it has everything.
func (in *ingest) adopt(ctx context.Context) error {
	t, err := in.s.readTable(in.digest)
	if err != nil {
		return err
	}
	b := &blob{s: in.s, e: in.e, claims: t.claims}
	if err := b.Check(ctx, 0, in.e.size); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.have, in.claims, in.proven = piece.FullBitfield(in.layout.Count()), t.claims, true
	return nil
}

// create begins with nothing. The journal comes last: bytes without one are
// junk to the next start.
func (in *ingest) create() error {
	for {
		err := in.openPart(os.O_CREATE | os.O_TRUNC)
		if err == nil {
			return in.openJournal()
		}
		in.s.remove(partPath(in.digest)) // it may have got some of its blocks
		if !errors.Is(noSpace(err), peer.ErrNoSpace) || !in.s.yield(in.layout.Size()) {
			return err
		}
	}
}

// yield evicts what it takes to make room for size bytes on a disk that is
// full although the store is not: others have filled it. It reports whether
// anything was evicted, so a caller that tries again ends.
func (s *Store) yield(size int64) bool {
	free, _, err := diskBytes(s.lock)
	if err != nil {
		free = 0
	}
	s.mu.Lock()
	victims, _ := s.index.victims(0, max(1, size-free))
	out := s.evict(victims, &s.counts.evictedDisk)
	s.mu.Unlock()
	s.empty(out)
	return len(victims) > 0
}

func (in *ingest) openPart(flag int) error {
	f, err := in.s.root.OpenFile(partPath(in.digest), os.O_RDWR|flag, fileMode)
	if err != nil {
		return err
	}
	in.s.fail.at("begin: part is made")
	if err := preallocate(f, in.layout.Size()); err != nil {
		_ = f.Close()
		return err
	}
	in.files.Lock()
	defer in.files.Unlock()
	in.part = f
	return nil
}

// openJournal writes a journal of what the ingest has. It takes the place of
// the one before in one step, so a crash leaves either.
func (in *ingest) openJournal() error {
	in.mu.Lock()
	p := encodeJournal(in.layout, &in.have, in.claims)
	in.mu.Unlock()
	path := journalPath(in.digest)
	f, err := in.s.root.OpenFile(path+tempExt, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	in.s.fail.at("journal: file is made")
	if err = in.s.fail.disk(); err == nil {
		_, err = f.Write(p)
	}
	if err == nil {
		in.s.fail.at("journal: is written")
		err = in.s.root.Rename(path+tempExt, path)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	in.s.fail.at("journal: has its name")
	in.journal.mu.Lock()
	defer in.journal.mu.Unlock()
	in.journal.f, in.journal.end = f, int64(len(p))
	return nil
}

// resume hashes every piece that the journal names and marks those that are
// right: after a crash the journal can be ahead of the bytes, and disks rot.
// A journal that cannot be read costs the pieces, not the ingest.
func (in *ingest) resume(ctx context.Context) error {
	claims, err := in.s.readJournal(in.digest, in.layout)
	if err == nil {
		err = in.openPart(0)
	}
	if errors.Is(err, errJournal) || errors.Is(err, fs.ErrNotExist) {
		in.s.log.Warn("nothing to resume, beginning anew", "blob", in.digest.Short(), "err", err)
		return in.create()
	}
	if err != nil {
		return err
	}
	for i, claim := range claims {
		if claim.IsZero() {
			continue
		}
		if err := in.regain(ctx, i, claim); err != nil {
			return fmt.Errorf("verify piece %d again: %w", i, err)
		}
	}
	if err := in.openJournal(); err != nil {
		return err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.advance()
	return nil
}

// regain marks piece i if its bytes on disk have the digest claim. It fails
// only if it is told to stop; a piece that cannot be read is not here.
func (in *ingest) regain(ctx context.Context, i int, claim piece.Digest) error {
	h := sha256.New()
	err := in.hashPiece(ctx, h, i)
	if errors.Is(err, ErrClosed) || ctx.Err() != nil {
		return err
	}
	if err != nil || piece.Digest(h.Sum(nil)) != claim {
		in.s.log.Warn("a piece on disk is not what it was", "blob", in.digest.Short(), "piece", i, "err", err)
		return nil
	}
	_, n := in.layout.Bounds(i)
	in.s.counts.resumed.Add(n)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.claims[i] = claim
	in.have.Set(i)
	return nil
}

func (s *Store) readJournal(d piece.Digest, l piece.Layout) ([]piece.Digest, error) {
	f, err := s.root.Open(journalPath(d))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, maxJournal))
	if err != nil {
		return nil, err
	}
	layout, claims, err := parseJournal(p)
	if err == nil && layout != l {
		err = fmt.Errorf("%w: it is of %d bytes", errJournal, layout.Size())
	}
	return claims, err
}
