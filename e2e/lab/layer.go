package lab

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is a recipe that writes the same tar each time. Neither memory nor
// disk ever holds the layer: it is written once to learn its digest and once
// more to push it, so 4 GiB cost no more than 4 KiB. It implements v1.Layer.
type layer struct {
	write   func(io.Writer) error // the tar, uncompressed
	gzipped bool

	digest v1.Hash
	diffID v1.Hash
	size   int64
	crc    uint32 // Castagnoli's, of what is pushed
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// newLayer writes the layer once, to nowhere.
func newLayer(gzipped bool, write func(io.Writer) error) (*layer, error) {
	l := &layer{write: write, gzipped: gzipped}
	raw, packed := sha256.New(), &measure{Hash: sha256.New()}
	if err := write(raw); err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	crc := crc32.New(castagnoli)
	if err := l.writePacked(io.MultiWriter(packed, crc)); err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	l.diffID, l.digest, l.size, l.crc = hashOf(raw), hashOf(packed), packed.n, crc.Sum32()
	return l, nil
}

func (l *layer) writePacked(w io.Writer) error {
	if !l.gzipped {
		return l.write(w)
	}
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if err := l.write(z); err != nil {
		return err
	}
	return z.Close()
}

// measure is a hash that knows how much went into it.
type measure struct {
	hash.Hash
	n int64
}

func (m *measure) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	return m.Hash.Write(p)
}

func hashOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// Digest implements v1.Layer.
func (l *layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID implements v1.Layer.
func (l *layer) DiffID() (v1.Hash, error) { return l.diffID, nil }

// Size implements v1.Layer.
func (l *layer) Size() (int64, error) { return l.size, nil }

// MediaType implements v1.Layer.
func (l *layer) MediaType() (types.MediaType, error) {
	if l.gzipped {
		return types.OCILayer, nil
	}
	return types.OCIUncompressedLayer, nil
}

// Compressed implements v1.Layer.
func (l *layer) Compressed() (io.ReadCloser, error) { return pull(l.writePacked), nil }

// Uncompressed implements v1.Layer.
func (l *layer) Uncompressed() (io.ReadCloser, error) { return pull(l.write), nil }

// pull turns a writing recipe into a reader. The recipe ends when the reader
// is closed.
func pull(write func(io.Writer) error) io.ReadCloser {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(write(w)) }()
	return r
}

// tarHeader is a header with nothing in it that differs between two machines.
func tarHeader(name string, mode, size int64) *tar.Header {
	return &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: size,
		ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	}
}

// randomFile adds a file of bytes that don't compress and follow from the seed.
func randomFile(t *tar.Writer, name string, seed uint64, size int64) error {
	if err := t.WriteHeader(tarHeader(name, 0o644, size)); err != nil {
		return err
	}
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	_, err := io.CopyN(t, rand.NewChaCha8(key), size)
	return err
}

// syntheticLayer is a layer of exactly size bytes, which must hold a tar's
// own blocks and be a multiple of 512.
func syntheticLayer(seed uint64, size int64) (*layer, error) {
	payload := size - tarOverhead
	if payload <= 0 || size%tarBlock != 0 {
		return nil, fmt.Errorf("a layer of %d bytes: multiples of %d above %d are possible", size, tarBlock, tarOverhead)
	}
	return newLayer(false, func(w io.Writer) error {
		t := tar.NewWriter(w)
		if err := randomFile(t, fmt.Sprintf("data/%016x", seed), seed, payload); err != nil {
			return err
		}
		return t.Close()
	})
}

const (
	tarBlock = 512
	// tarOverhead is one header and the two blocks at the end.
	tarOverhead = 3 * tarBlock
)
