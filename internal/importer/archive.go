package importer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Archive is what was found. Its files stay open until Close.
type Archive struct {
	// Images are those that the archive names, in its order.
	Images []Image
	// Blobs are all that they need, each once: what is referred to comes
	// before what refers to it.
	Blobs []Blob
	close []func() error
}

// Image is one root of an archive: a manifest, or an index of several.
type Image struct {
	Name   string // as the archive has it; may be empty
	Digest piece.Digest
	// Absent are the manifests of other platforms that the index lists and
	// the archive does not have.
	Absent []piece.Digest
}

// Blob is content of an image.
type Blob struct {
	Digest piece.Digest
	Size   int64
	Kind   string // layer, config, manifest or index
	// Open opens the content from its start.
	Open func() (io.ReadCloser, error)
}

// Limits on what an archive can make us hold in memory. Images have 127 layers
// at most, and indexes a dozen platforms.
const (
	maxManifest = 4 << 20 // bytes
	maxDepth    = 4       // an index of indexes, their manifests, blobs
	maxBlobs    = 16 << 10
	maxFiles    = 256 << 10 // names in a tar
)

// Open reads an archive's table of contents: a tar file, gzipped or not, a
// folder that is an OCI layout, or stdin if path is "-". What cannot be read
// from any place again is copied to a temporary file. The caller closes the
// archive.
func Open(path string, stdin io.Reader) (a *Archive, err error) {
	a = &Archive{}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", path, errors.Join(err, a.Close()))
			a = nil
		}
	}()
	if path != "-" {
		if info, err := os.Stat(path); err != nil {
			return a, errors.Unwrap(err)
		} else if info.IsDir() {
			return a, a.openDir(path)
		}
	}
	file, err := a.seekable(path, stdin)
	if err != nil {
		return a, err
	}
	t, err := indexTar(file)
	if err != nil {
		return a, err
	}
	switch {
	case t.has(layoutIndex):
		return a, a.readLayout(t)
	case t.has(dockerManifest):
		return a, a.readDocker(t)
	}
	return a, errors.New("neither an OCI layout (index.json) nor what docker save writes (manifest.json); write one with `docker save -o FILE IMAGE` or `ctr images export FILE IMAGE`")
}

// Close closes the archive's files and removes those that Open made.
func (a *Archive) Close() error {
	var errs []error
	for i := len(a.close) - 1; i >= 0; i-- {
		errs = append(errs, a.close[i]())
	}
	a.close = nil
	return errors.Join(errs...)
}

func (a *Archive) openDir(path string) error {
	root, err := os.OpenRoot(path) // no name in it leads out of it
	if err != nil {
		return err
	}
	a.close = append(a.close, root.Close)
	d := dir{root}
	if !d.has(layoutIndex) {
		return fmt.Errorf("a folder without %s is no OCI layout", layoutIndex)
	}
	return a.readLayout(d)
}

// files are the archive's files by name.
type files interface {
	has(name string) bool
	// open also tells the size.
	open(name string) (io.ReadCloser, int64, error)
}

type dir struct{ root *os.Root }

func (d dir) has(name string) bool {
	info, err := d.root.Stat(filepath.FromSlash(name))
	return err == nil && info.Mode().IsRegular()
}

func (d dir) open(name string) (io.ReadCloser, int64, error) {
	f, err := d.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// readAll reads a small file.
func readAll(f files, name string) ([]byte, error) {
	r, size, err := f.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxManifest {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", name, size, maxManifest)
	}
	return io.ReadAll(io.LimitReader(r, maxManifest))
}
