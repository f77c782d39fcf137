package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// tiny is a lab whose stores have room for one MiB.
func tiny(t *testing.T, nodes int) *peertest.Cluster {
	return lab(t, nodes, func(cfg *peertest.Config) {
		cfg.NewStore = func() peer.Store { return storetest.NewMemory(mib) }
	})
}

// A blob that the store has no room for goes through to the client, whole and
// verified, whether its size is known or not, and nothing of it is kept.
func TestFullStoreLetsBlobsThrough(t *testing.T) {
	for _, size := range []int64{1, 0} {
		t.Run(fmt.Sprintf("size known %v", size != 0), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := tiny(t, 1)
				blob := content(31, 9*mib+77)
				d, n := c.Origin.Add(blob), c.Nodes[0]
				told := int64(scheduler.SizeUnknown)
				if size != 0 {
					told = int64(len(blob))
				}
				for range 2 {
					got, err := n.Pull(t.Context(), n.Ref(d, told))
					if err != nil || got != d {
						t.Fatalf("pulled %s, %v", got.Short(), err)
					}
				}
				s := n.Peer.Stats()
				if s.Relayed != 2*int64(len(blob)) || s.Relays != 0 || len(n.Store.Held()) != 0 {
					t.Errorf("relayed %d bytes, %d relays run, %d blobs held", s.Relayed, s.Relays, len(n.Store.Held()))
				}
			})
		})
	}
}

// broken is a store whose disk fails at each write.
type broken struct{ peer.Store }

func (b broken) Ingest(ctx context.Context, d piece.Digest, l piece.Layout) (peer.Ingest, error) {
	in, err := b.Store.Ingest(ctx, d, l)
	return brokenIngest{in}, err
}

type brokenIngest struct{ peer.Ingest }

func (brokenIngest) Receive(context.Context, int, io.Reader, piece.Digest) (piece.Digest, error) {
	return piece.Digest{}, fmt.Errorf("receive: %w: %w", peer.ErrDisk, syscall.EIO)
}

// A blob that the disk does not take goes through to the client, and neighbours that
// sent it are not to blame.
func TestFailingDiskLetsBlobsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &journal.Journal{}
		made := 0
		c := lab(t, 4, func(cfg *peertest.Config) {
			cfg.Journal = events
			cfg.NewStore = func() peer.Store {
				if made++; made == 1 {
					return broken{storetest.NewMemory(64 * mib)}
				}
				return storetest.NewMemory(64 * mib)
			}
		})
		blob := content(33, 9*mib+77)
		d := c.Origin.Add(blob)
		for _, n := range append(c.Nodes[1:], c.Nodes[0]) {
			// What had begun is cut off; its client asks again.
			got, err := n.Pull(t.Context(), n.Ref(d, int64(len(blob))))
			if err != nil && n == c.Nodes[0] {
				got, err = n.Pull(t.Context(), n.Ref(d, int64(len(blob))))
			}
			if err != nil || got != d {
				t.Fatalf("pulled %s, %v", got.Short(), err)
			}
		}
		if s := c.Nodes[0].Peer.Stats(); s.Relayed != int64(len(blob)) {
			t.Errorf("%d bytes went past the store, want %d", s.Relayed, len(blob))
		}
		story, _ := events.Of(d.String())
		for _, e := range story.Entries {
			if e.Kind == journal.Blamed {
				t.Errorf("blamed: %s", e.Text)
			}
		}
	})
}

// A client of a relay never gets the end of a blob that is not what it asked
// for.
func TestRelayHoldsBackTheEndOfAFalseBlob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := tiny(t, 1)
		blob := content(32, 5*mib)
		n := c.Nodes[0]
		src := &lying{n.Ref(c.Origin.Add(blob), int64(len(blob)))}
		ref := peer.Ref{Digest: src.Digest, Size: src.Size, Source: src}
		content, err := n.Peer.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		var got bytes.Buffer
		m, err := content.WriteRange(t.Context(), &got, 0, ref.Size)
		var mismatch *piece.MismatchError
		if !errors.As(err, &mismatch) || m >= ref.Size {
			t.Errorf("a client got %d of %d bytes of a false blob, %v", m, ref.Size, err)
		}
		if _, err := content.WriteRange(t.Context(), &got, m, ref.Size-m); err == nil {
			t.Error("it got the rest when it asked again")
		}
	})
}

// lying is a source whose first byte is wrong.
type lying struct{ peer.Ref }

func (l *lying) Host() string                            { return l.Source.Host() }
func (l *lying) Stat(ctx context.Context) (int64, error) { return l.Source.Stat(ctx) }
func (l *lying) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	body, size, err := l.Source.Read(ctx, off, n)
	if err != nil || off > 0 {
		return body, size, err
	}
	return &flipped{ReadCloser: body}, size, nil
}

type flipped struct {
	io.ReadCloser
	done bool
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		p[0] ^= 1
		f.done = true
	}
	return n, err
}

// A client that goes on in the middle of a blob gets the rest of it, and one
// that reads a byte twice gets it twice.
func TestRelayBeginsAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := tiny(t, 1)
		blob := content(33, 6*mib)
		n := c.Nodes[0]
		ref := n.Ref(c.Origin.Add(blob), int64(len(blob)))
		content, err := n.Peer.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		for _, part := range []peer.Span{{Off: 3*mib + 5, N: 1}, {Off: 3*mib + 5, N: 2 * mib}, {Off: 10, N: mib}, {Off: 5 * mib, N: mib}} {
			var got bytes.Buffer
			if m, err := content.WriteRange(t.Context(), &got, part.Off, part.N); err != nil || m != part.N {
				t.Fatalf("%v: %d bytes, %v", part, m, err)
			}
			if !bytes.Equal(got.Bytes(), blob[part.Off:part.Off+part.N]) {
				t.Errorf("%v differs from the blob", part)
			}
		}
	})
}

// Transfers past the store are bounded, and each one that ends makes room.
func TestRelaysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := tiny(t, 1)
		blob := content(34, 2*mib)
		n := c.Nodes[0]
		ref := n.Ref(c.Origin.Add(blob), int64(len(blob)))
		var open []*peer.Content
		var err error
		for err == nil && len(open) < 1000 {
			var content *peer.Content
			if content, err = n.Peer.Open(t.Context(), ref); err == nil {
				open = append(open, content)
			}
		}
		if !errors.Is(err, peer.ErrNoSpace) || n.Peer.Stats().Relays != int64(len(open)) {
			t.Fatalf("after %d: %v, %d run", len(open), err, n.Peer.Stats().Relays)
		}
		_ = open[0].Close()
		again, err := n.Peer.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		for _, content := range append(open, again) {
			_ = content.Close()
			_ = content.Close() // twice is once
		}
		if s := n.Peer.Stats(); s.Relays != 0 {
			t.Errorf("%d relays run after all were closed", s.Relays)
		}
	})
}

// A disk that runs full in the middle of a blob costs the client that reads it a
// cut body. The next one, which goes on there, is relayed.
func TestDiskThatRunsFullHalfWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		c := lab(t, 1, func(cfg *peertest.Config) {
			cfg.NewStore = func() peer.Store { return &filling{storetest.NewMemory(0), &full} }
		})
		blob := content(35, 20*mib)
		n := c.Nodes[0]
		ref := n.Ref(c.Origin.Add(blob), int64(len(blob)))
		content, err := n.Peer.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if _, err := content.WriteRange(t.Context(), &got, 0, 2*mib); err != nil {
			t.Fatal(err)
		}
		full.Store(true)
		m, err := content.WriteRange(t.Context(), &got, 2*mib, ref.Size-2*mib)
		if err == nil {
			t.Fatal("the disk had room after all")
		}
		_ = content.Close()
		content, err = n.Peer.Open(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		if _, err := content.WriteRange(t.Context(), &got, 2*mib+m, ref.Size-2*mib-m); err != nil || !bytes.Equal(got.Bytes(), blob) {
			t.Errorf("the rest: %v, equal %v", err, bytes.Equal(got.Bytes(), blob))
		}
		if s := n.Peer.Stats(); s.Relayed == 0 {
			t.Error("nothing was relayed")
		}
	})
}

// filling is a store whose disk is full once full is set.
type filling struct {
	peer.Store
	full *atomic.Bool
}

func (f *filling) Ingest(ctx context.Context, d piece.Digest, l piece.Layout) (peer.Ingest, error) {
	in, err := f.Store.Ingest(ctx, d, l)
	return &fillingIngest{in, f.full}, err
}

type fillingIngest struct {
	peer.Ingest
	full *atomic.Bool
}

func (f *fillingIngest) Receive(ctx context.Context, i int, r io.Reader, want piece.Digest) (piece.Digest, error) {
	if f.full.Load() {
		return piece.Digest{}, fmt.Errorf("receive piece %d: %w: %w", i, peer.ErrNoSpace, syscall.ENOSPC)
	}
	return f.Ingest.Receive(ctx, i, r, want)
}
