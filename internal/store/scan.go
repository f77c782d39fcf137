package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// found is a blob that the scan takes in.
type found struct {
	*entry
	used time.Time
}

// scan fills the index with what is on disk and removes what a crash has left
// over. It looks at names, lengths and tables, not at content: a blob got its
// name after its bytes were on the disk, and pieces of others are hashed when
// their ingest is resumed.
func (s *Store) scan() error {
	if err := s.scanTrash(); err != nil {
		return err
	}
	blobs, err := s.scanBlobs()
	if err != nil {
		return err
	}
	partials, err := s.scanIngests(blobs)
	if err != nil {
		return err
	}
	all := slices.Collect(func(yield func(found) bool) {
		for _, m := range []map[piece.Digest]found{blobs, partials} {
			for _, f := range m {
				if !yield(f) {
					return
				}
			}
		}
	})
	slices.SortFunc(all, func(a, b found) int { return a.used.Compare(b.used) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range all {
		s.index.add(f.entry)
	}
	s.shrink()
	return nil
}

// shrink evicts what a capacity that is smaller than last time has no room
// for; mu is held. Nothing is pinned yet, so that always succeeds.
func (s *Store) shrink() {
	victims, _ := s.index.victims(0, 0)
	s.empty(s.evict(victims, &s.counts.evictedCapacity))
}

// scanTrash removes what was evicted but not yet removed.
func (s *Store) scanTrash() error {
	names, err := s.list(trashDir)
	for name := range names {
		s.remove(trashDir + "/" + name)
	}
	return err
}

// list is the regular files of a directory. Others, such as a symbolic link,
// are not ours and stay untouched.
func (s *Store) list(dir string) (map[string]fs.FileInfo, error) {
	d, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	files := make(map[string]fs.FileInfo)
	for {
		infos, err := d.Readdir(1024)
		for _, info := range infos {
			if info.Mode().IsRegular() {
				files[info.Name()] = info
			}
		}
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// scanBlobs takes every file whose table is right and says its length. A
// table without its blob is of a commit that a crash cut short; a blob
// without its table cannot be left by a crash and is dropped as damaged.
func (s *Store) scanBlobs() (map[piece.Digest]found, error) {
	files, err := s.list(blobsDir)
	if err != nil {
		return nil, err
	}
	blobs := make(map[piece.Digest]found)
	for name, info := range files {
		d, ext, ok := parseName(name)
		switch {
		case !ok:
			s.log.Debug("foreign file in the store", "file", name)
		case ext == tableExt && files[d.Hex()] == nil:
			s.remove(tablePath(d))
		case ext == "":
			t, err := s.readTable(d)
			if err == nil && t.layout.Size() != info.Size() {
				err = fmt.Errorf("it has %d bytes, not %d", info.Size(), t.layout.Size())
			}
			if err != nil {
				s.log.Warn("dropping a damaged blob", "blob", d.Short(), "err", err)
				s.remove(blobPath(d))
				s.remove(tablePath(d))
				continue
			}
			used := info.ModTime()
			blobs[d] = found{unproven(d, info.Size(), used), used}
		}
	}
	return blobs, nil
}

// unproven is a whole blob of which no piece has been looked at.
func unproven(d piece.Digest, size int64, used time.Time) *entry {
	e := &entry{digest: d, size: size, whole: true, stamped: used}
	if l, err := piece.NewLayout(size); err == nil && l.Count() > 0 { // its table was parsed
		all := piece.FullBitfield(l.Count())
		e.unproven.Store(&all)
	}
	return e
}

// scanIngests takes what can be resumed: bytes of the length that a journal
// says. Bytes without a journal are of an ingest cut short as it began, a
// journal without bytes of one that was committed.
func (s *Store) scanIngests(whole map[piece.Digest]found) (map[piece.Digest]found, error) {
	files, err := s.list(ingestDir)
	if err != nil {
		return nil, err
	}
	partials := make(map[piece.Digest]found)
	for name, info := range files {
		d, ext, ok := parseName(name)
		if !ok {
			s.log.Debug("foreign file in the store", "file", name)
			continue
		}
		part := files[d.Hex()+partExt]
		_, isWhole := whole[d]
		layout, err := s.readJournalHeader(d)
		if ext == journalExt && part != nil && !isWhole && err == nil && layout.Size() == part.Size() {
			used := info.ModTime()
			partials[d] = found{&entry{digest: d, size: part.Size()}, used}
		}
	}
	for name := range files {
		d, ext, ok := parseName(name)
		_, taken := partials[d]
		if ok && (!taken || ext != partExt && ext != journalExt) {
			s.remove(ingestDir + "/" + name)
		}
	}
	return partials, nil
}

func (s *Store) readJournalHeader(d piece.Digest) (piece.Layout, error) {
	f, err := s.root.Open(journalPath(d))
	if err != nil {
		return piece.Layout{}, err
	}
	defer f.Close()
	var p [journalHeader]byte
	if _, err := io.ReadFull(f, p[:]); err != nil {
		return piece.Layout{}, err
	}
	return parseJournalHeader(p[:])
}
