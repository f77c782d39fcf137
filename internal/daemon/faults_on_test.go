//go:build p2pd_faults

package daemon

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// giver uploads the same bytes to everybody.
type giver struct {
	peer.Handler
	content []byte
	closed  bool
}

func (g *giver) Upload(context.Context, scheduler.PeerID, piece.Digest, int64, int64) (*peer.Upload, error) {
	return peer.NewUpload(bytes.NewReader(g.content), func() { g.closed = true }), nil
}

// The end-to-end tests rely on it that a peer with faults sends as many bytes,
// and not the same.
func TestFaults(t *testing.T) {
	for _, on := range []bool{false, true} {
		if on {
			t.Setenv("P2PD_FAULT_CORRUPT_UPLOADS", "1")
		}
		g := &giver{content: []byte("content")}
		u, err := faulty(g).Upload(t.Context(), "", piece.Digest{}, 0, 7)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(u.Reader)
		u.Close()
		if err != nil || len(got) != len(g.content) || bytes.Equal(got, g.content) == on || !g.closed {
			t.Errorf("faults %t: %q, %v, closed %t", on, got, err, g.closed)
		}
	}
}
