//go:build p2pd_faults

package daemon

import (
	"context"
	"io"
	"os"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// faulty makes this peer send false bytes if P2PD_FAULT_CORRUPT_UPLOADS is
// set. Only builds with the tag p2pd_faults, for tests, contain it.
func faulty(h peer.Handler) peer.Handler {
	if os.Getenv("P2PD_FAULT_CORRUPT_UPLOADS") == "" {
		return h
	}
	return corrupter{h}
}

type corrupter struct{ peer.Handler }

func (c corrupter) Upload(ctx context.Context, child scheduler.PeerID, d piece.Digest, off, n int64) (*peer.Upload, error) {
	u, err := c.Handler.Upload(ctx, child, d, off, n)
	if err != nil {
		return nil, err
	}
	return peer.NewUpload(flipped{u.Reader}, u.Close), nil
}

// flipped spoils the first byte of every read.
type flipped struct{ r io.Reader }

func (f flipped) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if n > 0 {
		p[0] ^= 0xff
	}
	return n, err
}

// misreading has a node read false bytes from its registries, as one does whose
// memory is bad, or that has a proxy before it which changes bytes: as many, and
// false in every second MiB. It does so while there is a file of the name that
// P2PD_FAULT_MISREAD has.
func misreading(s peer.Source) peer.Source {
	file := os.Getenv("P2PD_FAULT_MISREAD")
	if file == "" {
		return s
	}
	return misreader{s, file}
}

type misreader struct {
	peer.Source
	file string
}

func (m misreader) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	body, size, err := m.Source.Read(ctx, off, n)
	if err != nil {
		return nil, size, err
	}
	return &misread{body, off, m.file}, size, nil
}

// misread spoils the first byte of every second MiB of a blob.
type misread struct {
	io.ReadCloser
	off  int64 // where in the blob the next byte lies
	file string
}

// misreadEvery is larger than the smallest pieces: some are read rightly.
const misreadEvery = 2 << 20

func (m *misread) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if _, gone := os.Lstat(m.file); gone == nil {
		for at := (misreadEvery - m.off%misreadEvery) % misreadEvery; at < int64(n); at += misreadEvery {
			p[at] ^= 0xff
		}
	}
	m.off += int64(n)
	return n, err
}
