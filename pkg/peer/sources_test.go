package peer_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// rightful is a source with a right that ends after some bytes were read.
type rightful struct {
	peer.Source
	left  atomic.Int64 // bytes
	asked atomic.Int64
}

// errNoRight is what it says then.
var errNoRight = &peer.OriginError{Status: 401, Message: "token expired"}

func (s *rightful) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	s.asked.Add(1)
	if s.left.Load() <= 0 {
		return nil, 0, errNoRight
	}
	if n > 0 {
		s.left.Add(-n)
	}
	return s.Source.Read(ctx, off, n)
}

// Two clients share one download. The right of the one whose source is used
// ends on the way: the other's is used, and both get everything.
func TestARefusedSourceStepsAside(t *testing.T) {
	for _, tt := range []struct {
		name          string
		first, second int64
	}{
		{"the first reader's ends", 4 * mib, 1 << 40},
		{"the second reader's ends", 1 << 40, 4 * mib},
		{"the first reader had none", 0, 1 << 40},
		{"the second reader had none", 1 << 40, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := lab(t, 1, nil)
				d := c.Origin.Add(content(1, 32*mib))
				n := c.Nodes[0]
				ref := func(left int64) (peer.Ref, *rightful) {
					r := n.Ref(d, 32*mib)
					s := &rightful{Source: r.Source}
					s.left.Store(left)
					r.Source = s
					return r, s
				}
				first, a := ref(tt.first)
				second, b := ref(tt.second)
				// Both are there before the first read of the origin.
				held, err := n.Peer.Open(t.Context(), first)
				if err != nil {
					t.Fatal(err)
				}
				defer held.Close()
				got, err := n.Pull(t.Context(), second)
				if err != nil || got != d {
					t.Errorf("the second reader: %s, %v", got.Short(), err)
				}
				if err := held.Await(t.Context(), 32*mib-1); err != nil {
					t.Errorf("the first reader: %v", err)
				}
				t.Logf("asked the first %d times, the second %d times", a.asked.Load(), b.asked.Load())
			})
		})
	}
}

// A download of which all are refused fails; whoever comes with a right after
// that is not told of it.
func TestARefusalIsNotForThoseWhoComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		d := c.Origin.Add(content(1, 4*mib))
		n := c.Nodes[0]
		refused := n.Ref(d, scheduler.SizeUnknown)
		refused.Source = &rightful{Source: refused.Source}
		if _, err := n.Pull(t.Context(), refused); !errors.Is(err, errNoRight) {
			t.Errorf("without a right: %v", err)
		}
		if got, err := n.Pull(t.Context(), n.Ref(d, 4*mib)); err != nil || got != d {
			t.Errorf("with a right: %s, %v", got.Short(), err)
		}
	})
}
