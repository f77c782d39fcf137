package transport

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; nothing that works comes near it.
const patience = 20 * time.Second

// node is a running Transport with a small Handler that remembers what it is
// told and serves what is in blobs.
type node struct {
	*Transport
	config   Config
	received chan received
	lost     chan lost
	// upload, if set, answers instead of blobs.
	upload func(ctx context.Context, child scheduler.PeerID, d piece.Digest, off, n int64) (*peer.Upload, error)
	stop   func() // ends Run and waits for it

	mu       sync.Mutex // guards what follows
	blobs    map[piece.Digest][]byte
	children []scheduler.PeerID // of each upload
	open     int                // uploads not closed
}

type received struct {
	from scheduler.PeerID
	m    peer.Message
}

type lost struct {
	peer scheduler.PeerID
	err  error
}

func (n *node) Receive(from scheduler.PeerID, m peer.Message) { n.received <- received{from, m} }

func (n *node) Lost(p scheduler.PeerID, err error) { n.lost <- lost{p, err} }

func (n *node) Upload(ctx context.Context, child scheduler.PeerID, d piece.Digest, off, size int64) (*peer.Upload, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.children = append(n.children, child)
	if n.upload != nil {
		return n.upload(ctx, child, d, off, size)
	}
	content, ok := n.blobs[d]
	if !ok || off+size > int64(len(content)) {
		return nil, peer.ErrNotHeld
	}
	n.open++
	release := func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open--
	}
	return peer.NewUpload(bytes.NewReader(content[off:off+size]), release), nil
}

// hold makes the node serve content.
func (n *node) hold(content []byte) piece.Digest {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := piece.Sum(content)
	n.blobs[d] = content
	return d
}

// loopback is a Config for a test: any ports of 127.0.0.1, a new identity.
func loopback(t testing.TB) Config {
	return Config{
		KeyFile: filepath.Join(t.TempDir(), "key"),
		Listen:  "127.0.0.1:0",
		Bulk:    "127.0.0.1:0",
	}
}

// launch makes a Transport and runs it until the test ends.
func launch(t testing.TB, cfg Config) *node {
	t.Helper()
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, tr, cfg)
}

// run runs a Transport until the test ends.
func run(t testing.TB, tr *Transport, cfg Config) *node {
	t.Helper()
	n := &node{
		Transport: tr,
		config:    cfg,
		received:  make(chan received, 1000),
		lost:      make(chan lost, 1000),
		blobs:     make(map[piece.Digest][]byte),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx, n) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := await(t, done, "end of Run"); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// await is the next value of c.
func await[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// fetchAll reads the body of a fetch to its end.
func fetchAll(n *node, from scheduler.Peer, d piece.Digest, off, size int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body, err := n.Fetch(ctx, from, d, off, size)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}
