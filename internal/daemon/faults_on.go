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
