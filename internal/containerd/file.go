package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// contentDir is containerd's content store below its root, and blobsDir where
// that has its blobs, each by its hex digest; containerd makes blobsDir with the
// first one. Files get there by rename and are never written to again. Names
// are made of parsed digests alone and opened through an os.Root.
const (
	contentDir = "io.containerd.content.v1.content"
	blobsDir   = "blobs/sha256"
)

func blobName(d piece.Digest) string { return blobsDir + "/" + d.Hex() }

// errAnother says that a file is not the one that was hashed.
var errAnother = errors.New("the file is not the one that was hashed")

// stamp tells one file from another without reading it. Whoever writes to a
// file, or puts another in its place, changes it.
type stamp struct {
	device, inode uint64
	size          int64
	modified      time.Time
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode = uint64(st.Dev), st.Ino //nolint:unconvert // Dev differs between systems
	}
	return s
}

// proof is what was learned when a file was hashed. It is immutable.
type proof struct {
	stamp  stamp
	layout piece.Layout
	claims []piece.Digest
	made   time.Time // when containerd got the blob
}

// openRoot takes the content store's folder anew, for it may have been made, or
// mounted, since the last time.
func (c *Content) openRoot() error {
	root, err := os.OpenRoot(filepath.Join(c.cfg.Root, contentDir))
	if err != nil {
		return fmt.Errorf("containerd's content: %w", err)
	}
	c.mu.Lock()
	old := c.root
	c.root = root
	c.mu.Unlock()
	if old == nil {
		return nil
	}
	c.using.Lock() // until nobody opens a file by it any more
	defer c.using.Unlock()
	return old.Close() // files that are open stay open
}

// current is the content store's folder, which stays open until done is called; nil
// until containerd was reached.
func (c *Content) current() (root *os.Root, done func()) {
	c.using.RLock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.root, c.using.RUnlock
}

// openFile opens a blob's file, which must be a regular one, and says which
// file it is. The caller closes it.
func (c *Content) openFile(d piece.Digest) (*os.File, stamp, error) {
	root, done := c.current()
	defer done()
	if root == nil {
		return nil, stamp{}, fs.ErrNotExist
	}
	// Asked first: to open a pipe could wait for ever.
	info, err := root.Lstat(blobName(d))
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", d.Hex())
	}
	if err != nil {
		return nil, stamp{}, err
	}
	f, err := root.Open(blobName(d))
	if err != nil {
		return nil, stamp{}, err
	}
	if info, err = f.Stat(); err != nil {
		_ = f.Close()
		return nil, stamp{}, err
	}
	return f, stampOf(info), nil
}

// look says which file has a blob's name now.
func (c *Content) look(d piece.Digest) (stamp, error) {
	root, done := c.current()
	defer done()
	if root == nil {
		return stamp{}, fs.ErrNotExist
	}
	info, err := root.Lstat(blobName(d))
	if err != nil {
		return stamp{}, err
	}
	return stampOf(info), nil
}

// blob is one proven file. It keeps a descriptor and no lease: containerd may
// remove the file at any time, and what is open stays readable.
type blob struct {
	c      *Content
	digest piece.Digest
	proof  *proof

	mu   sync.Mutex // guards what follows
	file *os.File   // open since Content.Open, until the first reader takes it
}

// open opens the file once more and makes sure that it is still the same.
func (b *blob) open() (*os.File, error) {
	f, s, err := b.c.openFile(b.digest)
	if err == nil && s != b.proof.stamp {
		_ = f.Close()
		err = errAnother
	}
	if err != nil {
		b.c.lost()
		return nil, fmt.Errorf("open blob %s in containerd: %w: %w", b.digest.Short(), peer.ErrNotHeld, err)
	}
	return f, nil
}

// Size implements peer.Blob.
func (b *blob) Size() int64 { return b.proof.layout.Size() }

// Claims implements peer.Blob.
func (b *blob) Claims() []piece.Digest { return b.proof.claims }

// Check implements peer.Blob. The file was verified as it is now, by its stamp.
func (b *blob) Check(context.Context, int64, int64) error { return nil }

// NewReader implements peer.Blob. The reader is an *os.File. The first one
// cannot fail, whatever containerd has removed since Open.
func (b *blob) NewReader() (io.ReadSeekCloser, error) {
	b.mu.Lock()
	f := b.file
	b.file = nil
	b.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f, err := b.open()
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Close implements peer.Blob.
func (b *blob) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil
	return f.Close()
}
