package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/p2pd/p2pd/pkg/piece"
)

// What is under Config.Dir. Names are made of parsed digests alone, and all
// access goes through an os.Root, so no name leads out of it.
//
//	lock                      held by the one process that uses the directory
//	blobs/sha256/<hex>        a whole blob
//	blobs/sha256/<hex>.pieces its table
//	ingest/<hex>.part         the bytes of a blob that is still arriving
//	ingest/<hex>.state        its journal
//	trash/<hex>.<n>           evicted, about to be removed
const (
	lockName  = "lock"
	blobsDir  = "blobs/sha256"
	ingestDir = "ingest"
	trashDir  = "trash"

	tableExt   = ".pieces"
	partExt    = ".part"
	journalExt = ".state"
	tempExt    = ".tmp"

	// Others on the node must not read what may be a private image.
	dirMode  = 0o700
	fileMode = 0o600
)

func blobPath(d piece.Digest) string    { return blobsDir + "/" + d.Hex() }
func tablePath(d piece.Digest) string   { return blobsDir + "/" + d.Hex() + tableExt }
func partPath(d piece.Digest) string    { return ingestDir + "/" + d.Hex() + partExt }
func journalPath(d piece.Digest) string { return ingestDir + "/" + d.Hex() + journalExt }

// parseName splits a file's name into digest and extension; false if it is
// not one of ours.
func parseName(name string) (d piece.Digest, ext string, ok bool) {
	stem, ext, found := strings.Cut(name, ".")
	if found {
		ext = "." + ext
	}
	d, err := piece.ParseDigest("sha256:" + stem)
	return d, ext, err == nil
}

// openDir makes the directory if need be and takes it for this process.
func openDir(dir string) (*os.Root, *os.File, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	lock, err := prepare(root)
	if err != nil {
		_ = root.Close()
		return nil, nil, err
	}
	return root, lock, nil
}

// prepare refuses a directory that belongs to somebody else, who could change
// blobs that are trusted, closes one that others may look into, and locks it.
func prepare(root *os.Root) (lock *os.File, err error) {
	info, err := root.Stat(".")
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to user %d: %w", root.Name(), st.Uid, fs.ErrPermission)
	}
	if info.Mode().Perm() != dirMode {
		if err := root.Chmod(".", dirMode); err != nil {
			return nil, err
		}
	}
	for _, sub := range []string{blobsDir, ingestDir, trashDir} {
		if err := root.MkdirAll(sub, dirMode); err != nil {
			return nil, err
		}
	}
	return takeLock(root)
}

// takeLock keeps a second process out, which would evict what this one
// serves. The kernel frees the lock however the process ends.
func takeLock(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s is in use by another process: %w", root.Name(), err)
	}
	return f, nil
}

// syncDir makes the names in a directory durable: a rename is not on the disk
// before that.
func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// writeSynced writes a file and waits until it is on the disk.
func (s *Store) writeSynced(name string, p []byte) error {
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	s.fail.at("table: file is made")
	_, err = f.Write(p)
	s.fail.at("table: is written")
	if err == nil {
		err = errors.Join(s.fail.disk(), f.Sync())
	}
	s.fail.synced(name)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
