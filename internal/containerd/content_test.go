package containerd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// follower is a running Content with those whom it tells.
type follower struct {
	*Content
	swarm  *swarm
	copies *copies
}

// follow runs a Content on f until the test ends. Times are short where
// something is waited for; Again and Relist are as the test wants them.
func follow(t *testing.T, f *fake, change func(*Config)) *follower {
	t.Helper()
	cfg := Config{
		Socket: f.socket, Root: f.root, Settle: time.Millisecond,
		RetryFirst: time.Millisecond, RetryMost: 20 * time.Millisecond,
		// Out of reach: what is seen is seen by events.
		Again: time.Hour, Relist: time.Hour,
	}
	if change != nil {
		change(&cfg)
	}
	c := &follower{
		Content: New(cfg), swarm: &swarm{offered: make(map[piece.Digest]int64)},
		copies: &copies{Memory: storetest.NewMemory(1 << 30), demoted: make(map[piece.Digest]bool)},
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, c.swarm, c.copies) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("did not end")
		}
	})
	return c
}

// until asks again and again for what comes in its own time.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// offers waits until a blob is offered and reads it.
func (c *follower) offers(t *testing.T, d piece.Digest, want []byte) {
	t.Helper()
	until(t, "a blob is offered", func() bool { return c.swarm.has(d) })
	b, err := c.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	readAll(t, b, want)
	l, err := piece.NewLayout(int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	var claims []piece.Digest
	for i := range l.Count() {
		off, n := l.Bounds(i)
		claims = append(claims, piece.Sum(want[off:off+n]))
	}
	if diff := cmp.Diff(claims, b.Claims()); diff != "" || b.Size() != int64(len(want)) {
		t.Errorf("size %d, want %d; claims (-want +got):\n%s", b.Size(), len(want), diff)
	}
}

func readAll(t *testing.T, b peer.Blob, want []byte) {
	t.Helper()
	for range 2 { // the first reader is made at Open, the second is not
		r, err := b.NewReader()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := r.(*os.File); !ok {
			t.Errorf("the reader is a %T: no sendfile", r)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes of %d, %v", len(got), len(want), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func (c *follower) gone(t *testing.T, d piece.Digest) {
	t.Helper()
	until(t, "a blob is withdrawn", func() bool { return !c.swarm.has(d) })
	if _, err := c.Open(d); !errors.Is(err, peer.ErrNotHeld) {
		t.Errorf("open a blob that is gone: %v", err)
	}
	if c.copies.spare(d) {
		t.Error("our own copy is still the first to be evicted")
	}
}

// What was there before and what comes later is offered, with pieces that add
// up; of namespaces that nobody asked for, nothing.
func TestBlobsAreOffered(t *testing.T) {
	f := newFake(t)
	f.start()
	layer, _ := storetest.Random(1, 3<<20+5)
	other, _ := storetest.Random(2, 100)
	old, foreign := f.put("k8s.io", layer, false), f.put("moby", other, false)
	c := follow(t, f, nil)
	c.offers(t, old, layer)
	manifest := []byte(`{"schemaVersion":2}`)
	c.offers(t, f.put("k8s.io", manifest, true), manifest)
	if c.swarm.has(foreign) {
		t.Error("a blob of another namespace is offered")
	}
	if !c.copies.spare(old) {
		t.Error("our own copy is not the first to be evicted")
	}
	want := Stats{Connected: true, Blobs: 2, Bytes: int64(len(layer) + len(manifest))}
	if diff := cmp.Diff(want, c.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestAllNamespaces(t *testing.T) {
	f := newFake(t)
	f.start()
	a, b := []byte("one"), []byte("other")
	da, db := f.put("k8s.io", a, false), f.put("moby", b, false)
	c := follow(t, f, func(cfg *Config) { cfg.Namespaces = []string{AllNamespaces} })
	c.offers(t, da, a)
	c.offers(t, db, b)
}

// A blob that comes after the list was made and before it has arrived is not
// missed: the subscription is older than the list.
func TestNoGapBetweenSubscriptionAndList(t *testing.T) {
	f := newFake(t)
	p := []byte("just in between")
	f.late = func() {
		select {
		case <-f.subscribed:
		case <-time.After(patience):
			t.Error("the list does not come after the subscription")
		}
		f.put("k8s.io", p, true)
	}
	f.start()
	c := follow(t, f, nil)
	c.offers(t, piece.Sum(p), p)
}

// A subscription takes force after it was sent. What comes before is seen by a
// second list.
func TestTheListIsMadeOnceMore(t *testing.T) {
	f := newFake(t)
	p := []byte("said to nobody")
	f.late = func() { f.put("k8s.io", p, false) }
	f.start()
	c := follow(t, f, func(cfg *Config) { cfg.Again = time.Millisecond })
	c.offers(t, piece.Sum(p), p)
}

// What is not what its name says is never offered, whether cut short or
// changed; the right bytes in its place are.
func TestFalseBlobsAreNeverOffered(t *testing.T) {
	f := newFake(t)
	p, d := storetest.Random(3, 2<<20)
	flipped := bytes.Clone(p)
	flipped[1<<20] ^= 1
	q, short := storetest.Random(4, 1<<20)
	f.putAs("k8s.io", d, flipped, int64(len(p)))
	f.putAs("k8s.io", short, q[:len(q)-1], int64(len(q)))
	f.start()
	told := make(chan piece.Digest, 16)
	c := follow(t, f, func(cfg *Config) {
		cfg.Relist = time.Millisecond // looked at many times
		cfg.Damaged = func(d piece.Digest, err error) {
			if err == nil {
				t.Error("it is not said what is wrong")
			}
			told <- d
		}
	})
	until(t, "both are refused", func() bool { return c.Stats().Refused == 2 })
	for _, wrong := range []piece.Digest{d, short} {
		if _, err := c.Open(wrong); !errors.Is(err, peer.ErrNotHeld) || c.swarm.has(wrong) {
			t.Errorf("a false blob is offered; open: %v", err)
		}
		if c.copies.spare(wrong) {
			t.Error("our own copy is given up for a false one")
		}
	}
	f.unlist(d)
	f.put("k8s.io", p, true)
	c.offers(t, d, p)
	damaged := map[piece.Digest]int{}
	for range len(told) {
		damaged[<-told]++
	}
	if damaged[d] != 1 || damaged[short] != 1 || len(damaged) != 2 {
		t.Errorf("told of %v, want of each once", damaged)
	}
}

// A proven file that becomes another is not served any more.
func TestAChangedFileIsNotServed(t *testing.T) {
	f := newFake(t)
	f.start()
	p, _ := storetest.Random(5, 1<<20)
	c := follow(t, f, nil)
	d := f.put("k8s.io", p, true)
	c.offers(t, d, p)
	p[0] ^= 1
	f.unlist(d)
	f.putAs("k8s.io", d, p, int64(len(p)))
	if _, err := c.Open(d); !errors.Is(err, peer.ErrNotHeld) {
		t.Errorf("open a file that is another: %v", err)
	}
	c.gone(t, d) // by nothing but that Open
}

// A symbolic link is not followed, wherever it leads, and a pipe not waited for.
func TestOnlyRegularFiles(t *testing.T) {
	f := newFake(t)
	p := []byte("elsewhere")
	link, pipe := f.put("k8s.io", p, false), piece.Sum([]byte("pipe"))
	outside := filepath.Join(filepath.Dir(f.root), "outside")
	if err := errors.Join(os.Rename(f.path(link), outside), os.Symlink(outside, f.path(link)), syscall.Mkfifo(f.path(pipe), 0o600)); err != nil {
		t.Fatal(err)
	}
	c := New(Config{Root: f.root})
	if err := c.openRoot(); err != nil {
		t.Fatal(err)
	}
	defer c.root.Close()
	for _, d := range []piece.Digest{link, pipe} {
		if r := c.proveOne(t.Context(), listing{digest: d, size: int64(len(p))}, nil); r.proof != nil || r.err == nil {
			t.Errorf("proven: %v, %v", r.proof, r.err)
		}
	}
}

// A file that vanishes while it is read is read to its end. Whoever opens it
// next is told that it is gone, and so is the swarm.
func TestAFileVanishes(t *testing.T) {
	f := newFake(t)
	f.start()
	p, _ := storetest.Random(6, 1<<20)
	c := follow(t, f, nil)
	d := f.put("k8s.io", p, true)
	c.offers(t, d, p)
	b, err := c.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := os.Remove(f.path(d)); err != nil {
		t.Fatal(err)
	}
	r, err := b.NewReader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, p) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(p), err)
	}
	if _, err := b.NewReader(); !errors.Is(err, peer.ErrNotHeld) {
		t.Errorf("a second reader: %v", err)
	}
	c.gone(t, d)
}

// What containerd no longer lists is withdrawn, though its file may be there
// for a while.
func TestWhatIsNotListedIsWithdrawn(t *testing.T) {
	f := newFake(t)
	f.start()
	p := []byte("soon gone")
	c := follow(t, f, nil)
	d := f.put("k8s.io", p, true)
	c.offers(t, d, p)
	f.unlist(d)
	f.publish("k8s.io", "/images/delete")
	c.gone(t, d)
}

// containerd comes late, goes and comes again: what it has stays offered
// meanwhile, and what it got meanwhile is.
func TestContainerdRestarts(t *testing.T) {
	f := newFake(t)
	c := follow(t, f, nil)
	f.start()
	p, q := []byte("before"), []byte("meanwhile")
	d := f.put("k8s.io", p, true)
	c.offersByList(t, f, d, p)
	f.stop()
	until(t, "it is seen to be gone", func() bool { return !c.Stats().Connected })
	c.offers(t, d, p)
	dq := f.put("k8s.io", q, false)
	f.start()
	c.offers(t, dq, q)
	c.offers(t, d, p)
}

// offersByList is offers where the blob may have come before the subscription.
func (c *follower) offersByList(t *testing.T, f *fake, d piece.Digest, want []byte) {
	t.Helper()
	until(t, "it is followed", func() bool { return c.Stats().Connected })
	f.publish("k8s.io", "/images/create")
	c.offers(t, d, want)
}

// What the swarm could not be told is said again with the next list.
func TestAnOfferIsRepeated(t *testing.T) {
	f := newFake(t)
	p := []byte("on its way here at this moment")
	d := f.put("k8s.io", p, false)
	c := follow(t, f, func(cfg *Config) { cfg.Again, cfg.Relist = time.Millisecond, time.Millisecond })
	c.swarm.mu.Lock()
	c.swarm.deaf = 2
	c.swarm.mu.Unlock()
	f.start()
	c.offers(t, d, p)
}

func TestNoContainerd(t *testing.T) {
	f := newFake(t)
	c := follow(t, f, nil)
	if _, err := c.Open(piece.Sum(nil)); !errors.Is(err, peer.ErrNotHeld) {
		t.Error(err)
	}
	if held := c.Held(); len(held) > 0 {
		t.Errorf("held: %v", held)
	}
}
