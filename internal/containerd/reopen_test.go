package containerd

import (
	"sync"
	"testing"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Whoever opens a blob while containerd's folder is taken anew has it all the same.
func TestRootIsTakenAnewWhileBlobsAreOpened(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := []byte("held all the time")
	d := f.put("k8s.io", p, false)
	c := New(Config{Root: f.root})
	if err := c.openRoot(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.root.Close() }()
	r := c.proveOne(t.Context(), listing{digest: d, size: int64(len(p))}, nil)
	if r.err != nil {
		t.Fatal(r.err)
	}
	c.proven = map[piece.Digest]*proof{d: r.proof}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 2000 {
				b, err := c.Open(d)
				if err != nil {
					t.Error(err)
					return
				}
				_ = b.Close()
			}
		})
	}
	for range 2000 {
		if err := c.openRoot(); err != nil {
			t.Error(err)
			break
		}
	}
	readers.Wait()
}
