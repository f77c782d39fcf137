package peertest

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Origin is a registry that holds blobs. Set its fields before use.
type Origin struct {
	// Rate is bytes a second over all connections, PerConn over each one;
	// 0 is no limit.
	Rate, PerConn float64
	// NoRange makes it ignore ranges, as some registries do.
	NoRange bool
	// HideSize makes it keep the size to itself on reads.
	HideSize bool

	up wire

	mu       sync.Mutex // guards what follows
	blobs    map[piece.Digest][]byte
	fail     error // what every read gets while it is set
	hang     bool  // reads send headers and then nothing
	requests int
	stats    int
}

// Add puts a blob in and returns its digest.
func (o *Origin) Add(content []byte) piece.Digest {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.blobs == nil {
		o.blobs = make(map[piece.Digest][]byte)
	}
	d := piece.Sum(content)
	o.blobs[d] = content
	return d
}

// Fail makes every further read fail with err, nil ends that.
func (o *Origin) Fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail = err
}

// Hang makes further reads send nothing.
func (o *Origin) Hang(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hang = on
}

// Requests is how many reads there were, Bytes how much they got.
func (o *Origin) Requests() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.requests
}

// Bytes is how many bytes the origin has sent.
func (o *Origin) Bytes() int64 { return o.up.total() }

// source is one blob of an Origin, read by one node.
type source struct {
	o    *Origin
	node *Node
	d    piece.Digest
}

// Host implements peer.Source.
func (s *source) Host() string { return "origin.test" }

// Stat implements peer.Source.
func (s *source) Stat(context.Context) (int64, error) {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	s.o.stats++
	b, ok := s.o.blobs[s.d]
	if !ok {
		return 0, &peer.OriginError{Status: 404, Message: "no such blob"}
	}
	return int64(len(b)), s.o.fail
}

// Read implements peer.Source.
func (s *source) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	o := s.o
	if s.node.Down() {
		return nil, 0, errDown
	}
	o.up.mu.Lock()
	o.up.rate = o.Rate
	o.up.mu.Unlock()
	o.mu.Lock()
	o.requests++
	b, ok := o.blobs[s.d]
	fail, hang := o.fail, o.hang
	o.mu.Unlock()
	switch {
	case fail != nil:
		return nil, 0, fail
	case !ok:
		return nil, 0, &peer.OriginError{Status: 404, Message: "no such blob"}
	case o.NoRange && (off > 0 || n >= 0):
		return nil, 0, peer.ErrNoRange
	}
	if n < 0 {
		n = int64(len(b)) - off
	}
	size := int64(len(b))
	if o.HideSize {
		size = scheduler.SizeUnknown
	}
	if err := sleepUntil(ctx, time.Now().Add(2*s.node.c.cfg.Latency)); err != nil {
		return nil, 0, err
	}
	f := &flow{
		ctx: ctx, r: bytes.NewReader(b[off : off+n]), close: func() {},
		wires: []*wire{&o.up, {rate: o.PerConn}, s.node.down},
		alive: func() error {
			if s.node.Down() {
				return errDown
			}
			o.mu.Lock()
			fail := o.fail
			o.mu.Unlock()
			return fail
		},
	}
	if hang {
		f.r = hung{ctx}
	}
	return f, size, nil
}

// hung never sends anything.
type hung struct{ ctx context.Context }

func (h hung) Read([]byte) (int, error) {
	<-h.ctx.Done()
	return 0, h.ctx.Err()
}
