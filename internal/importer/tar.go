package importer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// tarFile is a tar's regular files, by where they lie in it.
type tarFile struct {
	file  *os.File
	spans map[string]span
}

type span struct{ off, size int64 }

// indexTar notes where each file lies. Links are followed by nobody: layouts
// have none.
func indexTar(f *os.File) (*tarFile, error) {
	t := &tarFile{file: f, spans: make(map[string]span)}
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar archive, or a damaged one: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		off, err := f.Seek(0, io.SeekCurrent) // the reader reads nothing ahead
		if err != nil {
			return nil, err
		}
		if len(t.spans) >= maxFiles {
			return nil, fmt.Errorf("more than %d files", maxFiles)
		}
		t.spans[path.Clean(h.Name)] = span{off, h.Size}
	}
}

func (t *tarFile) has(name string) bool {
	_, ok := t.spans[name]
	return ok
}

func (t *tarFile) open(name string) (io.ReadCloser, int64, error) {
	s, ok := t.spans[name]
	if !ok {
		return nil, 0, fmt.Errorf("%s is not in it", name)
	}
	return io.NopCloser(io.NewSectionReader(t.file, s.off, s.size)), s.size, nil
}

// all is the whole file from its start.
func (t *tarFile) all() (io.ReadCloser, error) {
	info, err := t.file.Stat()
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(t.file, 0, info.Size())), nil
}

var gzipMagic = []byte{0x1f, 0x8b}

// seekable is the archive as an uncompressed file, a temporary one if need be.
func (a *Archive) seekable(name string, stdin io.Reader) (*os.File, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		a.close = append(a.close, f.Close)
		magic := make([]byte, len(gzipMagic))
		// What is shorter is indexTar's to refuse.
		if n, _ := f.ReadAt(magic, 0); !bytes.Equal(magic[:n], gzipMagic) {
			return f, nil
		}
		r = f
	}
	buffered := bufio.NewReader(r)
	if magic, _ := buffered.Peek(len(gzipMagic)); bytes.Equal(magic, gzipMagic) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		return a.spool(z)
	}
	return a.spool(buffered)
}

// spool copies r to a temporary file that Close removes.
func (a *Archive) spool(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp("", "p2pd-import-*.tar")
	if err != nil {
		return nil, err
	}
	a.close = append(a.close, func() error { return errors.Join(f.Close(), os.Remove(f.Name())) })
	if _, err := io.Copy(f, r); err != nil {
		return nil, fmt.Errorf("copy it to %s: %w", os.TempDir(), err)
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}
