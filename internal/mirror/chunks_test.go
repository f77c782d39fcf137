package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestChunksKnowWhatMayNotBeRefused(t *testing.T) {
	c := newChunks()
	now := time.Now()
	blob := blobKey{testHost, testRepo, piece.Sum([]byte("blob"))}
	first, later := chunk{blob, 0}, chunk{blob, 5}
	if c.isLater(later, now) {
		t.Error("a range of a blob that was never answered may not be refused")
	}
	ended := c.answered(first, now)
	if c.isLater(first, now) {
		t.Error("a first chunk may not be refused")
	}
	if !c.isLater(later, now) {
		t.Error("a later chunk may be refused")
	}
	if c.isLater(chunk{blobKey{testHost, "another/app", blob.digest}, 5}, now) {
		t.Error("a chunk of another repository's blob may not be refused")
	}
	c.cut(later, now)
	if c.isLater(later, now) || !c.asked(later, now) || c.asked(later, now) {
		t.Error("what was cut may not be refused, or is remembered as cut for ever")
	}
	if !c.isLater(later, now) {
		t.Error("after the client asked again, it is as if nothing had been")
	}
	c.cut(later, now.Add(-cutFor))
	if !c.isLater(later, now) || c.asked(later, now) {
		t.Error("a cut of another pull counts still")
	}
	if c.isLater(later, now.Add(chunkedFor)) {
		t.Error("a blob that was begun long ago counts still")
	}

	endedLater := c.answered(later, now)
	again := c.answered(later, now)
	if !c.isFirst(first) || c.isFirst(later) {
		t.Error("the first of two that run is not the first")
	}
	ended()
	if !c.isFirst(later) {
		t.Error("one that ended is waited for")
	}
	endedLater()
	again()
	if len(c.running) != 0 {
		t.Errorf("%v run after all have ended", c.running)
	}
}

// arrivals is an Arrivals that counts what it is asked.
type arrivals struct {
	asked atomic.Int64
	say   func(nth int64) Arrival // nil: nothing arrives
}

func (a *arrivals) Arrival(piece.Digest) Arrival {
	n := a.asked.Add(1)
	if a.say == nil {
		return Arrival{}
	}
	return a.say(n)
}

// Of the chunks that wait, only the first is cut: the end of a later one would
// end those before it, too.
func TestOnlyTheFirstOfManyChunksIsCut(t *testing.T) {
	w := newWorld()
	data := pattern(4 * piece.MinSize)
	d, b := w.add(data)
	b.await = func(ctx context.Context, off int64) error {
		if off == 0 {
			return nil
		}
		return never(ctx, off)
	}
	writing, write := make(chan struct{}), make(chan struct{})
	b.write = func(_, n int64) (int64, error) {
		close(writing)
		<-write
		return n, nil
	}
	evidence := new(arrivals)
	lab := newLab(t, w, Config{StallTimeout: time.Millisecond, WaitLimit: 2 * time.Millisecond, Arrivals: evidence})
	lab.mirror.sizes.learn(testHost, testRepo, promise{d, int64(len(data))})
	first, later := make(chan answer, 1), make(chan answer, 1)
	go func() { first <- lab.do("GET", blobPath(d), "Range", "bytes=0-") }()
	<-writing
	go func() { later <- lab.do("GET", blobPath(d), "Range", fmt.Sprintf("bytes=%d-", 2*piece.MinSize)) }()
	for evidence.asked.Load() < 20 { // windows of the later chunk, each longer than it would wait alone
		select {
		case a := <-later:
			t.Fatalf("the later chunk ended before the first: %d, %v", a.status, a.err)
		case <-time.After(time.Millisecond):
		}
	}
	close(write)
	if a := <-first; a.status != 206 || !errors.Is(a.err, io.ErrUnexpectedEOF) || !bytes.Equal(a.body, data[:piece.MinSize]) {
		t.Errorf("the first chunk: %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
	if a := <-later; a.status != 206 || !errors.Is(a.err, io.ErrUnexpectedEOF) || len(a.body) != 0 {
		t.Errorf("the later chunk: %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
}

// A body that ended without any byte is not followed by another one.
func TestNoSecondAnswerWithoutAByte(t *testing.T) {
	w := newWorld()
	d, b := w.add(pattern(2 * piece.MinSize))
	b.write = func(int64, int64) (int64, error) { return 0, errors.New("disk on fire") }
	lab := newLab(t, w, Config{})
	for _, header := range []string{"", fmt.Sprintf("bytes=%d-", piece.MinSize), "bytes=5-6"} {
		a := lab.do("GET", blobPath(d), "Range", header)
		if a.status >= 300 || len(a.body) != 0 || !errors.Is(a.err, io.ErrUnexpectedEOF) {
			t.Fatalf("Range %q: %d, %d bytes, %v", header, a.status, len(a.body), a.err)
		}
		a = lab.do("GET", blobPath(d), "Range", header)
		if code, message := a.errorBody(); a.status != 503 || code != "UNAVAILABLE" {
			t.Errorf("Range %q again: %d %s", header, a.status, message)
		}
	}
	w.change(func() { b.write = nil })
	for range 2 {
		if a := lab.do("GET", blobPath(d)); a.status != 200 || a.err != nil {
			t.Errorf("after the fire: %d, %v", a.status, a.err)
		}
	}
}

// The client drops the connection in the middle of a piece, and no further
// step is written.
func TestAbortedRangeStopsAtOnce(t *testing.T) {
	w := newWorld()
	d := piece.Sum([]byte("nobody checks"))
	b := &fakeBlob{data: make([]byte, 1<<30+1)} // in pieces of several steps
	w.blobs[d] = b
	layout, err := piece.NewLayout(1<<30 + 1)
	if err != nil || layout.PieceSize() < 4*writeStep {
		t.Fatalf("pieces of %d bytes, %v", layout.PieceSize(), err)
	}
	var steps []int64
	leave := make(chan struct{})
	b.writing = func(ctx context.Context, off, n int64) {
		steps = append(steps, n)
		if off == writeStep {
			close(leave)
			<-ctx.Done()
		}
	}
	lab := newLab(t, w, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", lab.url+blobPath(d), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-")
	resp, err := lab.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, writeStep); err != nil {
		t.Fatal(err)
	}
	<-leave
	cancel()
	resp.Body.Close()
	if lab.count(Blob, Gone) != 1 {
		t.Errorf("counted %v", lab.mirror.Stats().Requests)
	}
	if diff := cmp.Diff([]int64{writeStep, writeStep}, steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
