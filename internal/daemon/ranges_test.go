package daemon_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/p2pd/p2pd/internal/daemon"
)

// pieceSize is that of blobs up to 256 MiB.
const pieceSize = 1 << 20

// counted is an upstream that counts the bytes of blobs that it sends.
type counted struct {
	*upstream
	sent atomic.Int64
}

func newCounted(t *testing.T, size int) *counted {
	t.Helper()
	u := &counted{upstream: newUpstream(t, size)}
	u.release()
	inner := u.Config.Handler
	u.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(&countingWriter{w, &u.sent}, r)
	})
	return u
}

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

// Write counts before it writes: whoever has read a byte finds it counted.
func (w *countingWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	n, err := w.ResponseWriter.Write(p)
	w.n.Add(int64(n - len(p)))
	return n, err
}

// readRange asks a node's mirror for bytes [off, off+n) and checks them.
func readRange(t *testing.T, n *daemon.Node, u *upstream, off, length int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, blobURL(n, u), nil)
	if err != nil {
		t.Error(err)
		return
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+length-1))
	res, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusPartialContent || !bytes.Equal(body, u.content[off:off+length]) {
		t.Errorf("range %d+%d: status %d, %d bytes, %v", off, length, res.StatusCode, len(body), err)
	}
}

// A lazy snapshotter asks for the size, the footer, and files here and there of
// a layer that nobody has: the origin gives the pieces that these touch, once
// for all nodes and over restarts, and no others.
func TestSmallRangesCostTheirPieces(t *testing.T) {
	const size = 64 << 20
	u := newCounted(t, size)
	hub := startHub(t)
	run := func(cfg daemon.NodeConfig) (*daemon.Node, *running) {
		n, r := startNode(t, cfg)
		until(t, "the scheduler is attached", func() bool {
			_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
			return sample(t, page, "p2pd_scheduler_connected") == "1"
		})
		return n, r
	}
	cfg := nodeConfig(t, u.upstream)
	hub.lets(&cfg)
	first, running := run(cfg)

	res, err := client.Head(blobURL(first, u.upstream))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.ContentLength != size || u.sent.Load() != 0 {
		t.Errorf("HEAD: %d bytes of %d, the origin sent %d", res.ContentLength, size, u.sent.Load())
	}
	readRange(t, first, u.upstream, size-47, 47)
	readRange(t, first, u.upstream, size-60_000, 60_000)
	if sent := u.sent.Load(); sent != pieceSize {
		t.Errorf("the footer cost %d bytes", sent)
	}
	var wg sync.WaitGroup
	for i := range 16 { // over pieces 10 to 13
		wg.Go(func() { readRange(t, first, u.upstream, 10*pieceSize+i*pieceSize/4, 4096) })
	}
	wg.Wait()
	if sent := u.sent.Load(); sent != 5*pieceSize {
		t.Errorf("footer and 16 ranges in 4 pieces cost %d bytes", sent)
	}

	readRange(t, first, u.upstream, 20*pieceSize, 30*pieceSize)
	before := u.sent.Load()
	otherCfg := nodeConfig(t, u.upstream)
	hub.lets(&otherCfg)
	second, _ := run(otherCfg)
	next := 20 // the first few may come before the two have met
	until(t, "the neighbour gives what it has", func() bool {
		readRange(t, second, u.upstream, next*pieceSize+1000, 1000)
		next++
		_, page := get(t, "http://"+second.HTTPAddr().String()+"/metrics")
		return sample(t, page, `p2pd_bytes_total{direction="received",scope="zone",source="peer"}`) != "0" || next == 50
	})
	own := u.sent.Load() - before
	if own > int64(next-21)*pieceSize {
		t.Errorf("of %d pieces that the neighbour has, %d bytes came from the origin", next-20, own)
	}

	running.wait(t)
	again, _ := run(cfg)
	readRange(t, again, u.upstream, 10*pieceSize, 3*pieceSize)
	if sent := u.sent.Load() - own; sent != 35*pieceSize {
		t.Errorf("after a restart the origin has sent %d bytes", sent)
	}
	if status, body := get(t, blobURL(again, u.upstream)); status != http.StatusOK || body != string(u.content) {
		t.Errorf("the whole blob: status %d, %d bytes", status, len(body))
	}
	if sent := u.sent.Load() - own; sent > size+pieceSize { // one is for a stall of this machine
		t.Errorf("the origin sent %d bytes of %d", sent, size)
	}
}

// Where the operator wants it, the rest follows in the background.
func TestSmallRangesFetchTheWhole(t *testing.T) {
	u := newCounted(t, 8<<20)
	cfg := nodeConfig(t, u.upstream)
	cfg.Mirror.RangeFetch = "whole"
	n, _ := startNode(t, cfg)
	readRange(t, n, u.upstream, 5<<20, 10)
	until(t, "the blob is whole in the store", func() bool {
		_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
		return sample(t, page, "p2pd_cache_blobs") == "1"
	})
}
