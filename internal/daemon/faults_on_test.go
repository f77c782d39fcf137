//go:build p2pd_faults

package daemon

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
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

// holder is a registry that has one blob.
type holder struct {
	peer.Source
	content []byte
}

func (h holder) Read(_ context.Context, off, n int64) (io.ReadCloser, int64, error) {
	return io.NopCloser(io.LimitReader(bytes.NewReader(h.content[off:]), n)), int64(len(h.content)), nil
}

// A node that reads falsely reads as many bytes, the same false ones each time
// and wherever it begins, and the right ones once that is over.
func TestMisreading(t *testing.T) {
	file := filepath.Join(t.TempDir(), "misread")
	t.Setenv("P2PD_FAULT_MISREAD", file)
	h := holder{content: make([]byte, 5<<20)}
	src := misreading(h)
	spoilt := func(off, n int64) (at []int64) {
		t.Helper()
		body, size, err := src.Read(t.Context(), off, n)
		if err != nil || size != int64(len(h.content)) {
			t.Fatal(size, err)
		}
		got, err := io.ReadAll(body)
		if err != nil || int64(len(got)) != n {
			t.Fatalf("%d bytes of %d, %v", len(got), n, err)
		}
		for i, b := range got {
			if b != 0 {
				at = append(at, off+int64(i))
			}
		}
		return at
	}
	if at := spoilt(0, 5<<20); at != nil {
		t.Errorf("bytes %v are false before the fault", at)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		off, n int64
		want   []int64
	}{{0, 5 << 20, []int64{0, 2 << 20, 4 << 20}}, {1 << 20, 2 << 20, []int64{2 << 20}}, {1, 1 << 20, nil}, {4 << 20, 1, []int64{4 << 20}}} {
		if at := spoilt(c.off, c.n); !slices.Equal(at, c.want) {
			t.Errorf("%d bytes from %d on: %v are false, want %v", c.n, c.off, at, c.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if at := spoilt(0, 5<<20); at != nil {
		t.Errorf("bytes %v are false after the fault", at)
	}
}
