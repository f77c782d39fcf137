package mirror

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// A client that goes away in the middle ends the request and frees content.
func TestClientGoesAway(t *testing.T) {
	w := newWorld()
	d, b := w.add(pattern(2 * piece.MinSize))
	b.await = func(ctx context.Context, off int64) error {
		if off == 0 {
			return nil
		}
		return never(ctx, off)
	}
	lab := newLab(t, w, Config{StallTimeout: time.Hour, Drain: time.Minute})
	ctx, leave := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", lab.url+blobPath(d), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := lab.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	leave()
	resp.Body.Close()
	if lab.count(Blob, Gone) != 1 {
		t.Errorf("counted %v", lab.mirror.Stats().Requests)
	}
}

func TestClientGoesAwayBeforeTheFirstByte(t *testing.T) {
	w := newWorld()
	d, b := w.add(pattern(10))
	ctx, leave := context.WithCancel(context.Background())
	b.await = func(ctx context.Context, off int64) error {
		leave()
		return never(ctx, off)
	}
	lab := newLab(t, w, Config{FirstByteTimeout: time.Hour})
	req, err := http.NewRequestWithContext(ctx, "GET", lab.url+blobPath(d), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := lab.client.Do(req); err == nil {
		t.Errorf("got %d", resp.StatusCode)
		resp.Body.Close()
	}
	if lab.count(Blob, Gone) != 1 {
		t.Errorf("counted %v", lab.mirror.Stats().Requests)
	}
}

func TestPanics(t *testing.T) {
	w := newWorld()
	data := pattern(100)
	early, b := w.add(data)
	b.await = func(context.Context, int64) error { panic("a defect") }
	late, b := w.add(data[:50])
	b.write = func(int64, int64) (int64, error) { panic("a defect") }
	lab := newLab(t, w, Config{})
	a := lab.do("GET", blobPath(early))
	if code, _ := a.errorBody(); a.status != 500 || code != "UNKNOWN" || bytes.Contains(a.body, []byte("defect")) {
		t.Errorf("got %d %s", a.status, a.body)
	}
	req, err := http.NewRequest("GET", lab.url+blobPath(late), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The header may or may not get through before the connection ends.
	if resp, err := lab.client.Do(req); err == nil {
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("a panic in the middle ended in %d whole bytes", len(body))
		}
		resp.Body.Close()
	}
	if a := lab.do("GET", "/v2/"); a.status != 200 {
		t.Errorf("the mirror answers %d after panics", a.status)
	}
	if lab.count(Blob, Panicked) < 2 {
		t.Errorf("counted %v", lab.mirror.Stats().Requests)
	}
}

func TestTooManyRequests(t *testing.T) {
	w := newWorld()
	held, b := w.add(pattern(10))
	entered, release := make(chan struct{}), make(chan struct{})
	b.await = func(context.Context, int64) error {
		entered <- struct{}{}
		<-release
		return nil
	}
	lab := newLab(t, w, Config{MaxRequests: 2})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			if a := lab.do("GET", blobPath(held)); a.status != 200 {
				t.Errorf("held request got %d", a.status)
			}
		})
		<-entered
	}
	a := lab.do("GET", "/v2/")
	if code, _ := a.errorBody(); a.status != 503 || code != "UNAVAILABLE" {
		t.Errorf("third request got %d %s", a.status, a.body)
	}
	close(release)
	readers.Wait()
}

// When Serve is told to end, a running transfer is finished and new ones are
// not taken.
func TestDrainFinishesTransfers(t *testing.T) {
	w := newWorld()
	data := pattern(2 * piece.MinSize)
	d, b := w.add(data)
	waiting, arrive := make(chan struct{}), make(chan struct{})
	b.await = func(ctx context.Context, off int64) error {
		if off == 0 {
			return nil
		}
		close(waiting)
		select {
		case <-arrive:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	lab := newLab(t, w, Config{Drain: time.Hour, StallTimeout: time.Hour})
	got := make(chan answer, 1)
	go func() { got <- lab.do("GET", blobPath(d)) }()
	<-waiting
	lab.cancel()
	waitClosed(t, lab)
	close(arrive)
	if a := <-got; a.status != 200 || a.err != nil || !bytes.Equal(a.body, data) {
		t.Errorf("drained transfer: %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
	lab.end()
}

func TestDrainCutsWhatIsLeft(t *testing.T) {
	w := newWorld()
	data := pattern(2 * piece.MinSize)
	d, b := w.add(data)
	waiting := make(chan struct{})
	b.await = func(ctx context.Context, off int64) error {
		if off == 0 {
			return nil
		}
		close(waiting)
		return never(ctx, off)
	}
	lab := newLab(t, w, Config{Drain: time.Millisecond, StallTimeout: time.Hour})
	got := make(chan answer, 1)
	go func() { got <- lab.do("GET", blobPath(d)) }()
	<-waiting
	lab.end()
	if a := <-got; a.status != 200 || !errors.Is(a.err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
}

// waitClosed waits until the mirror takes no more connections.
func waitClosed(t *testing.T, lab *lab) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		c, err := net.Dial("tcp", lab.url[len("http://"):])
		if err != nil {
			return
		}
		c.Close()
	}
	t.Fatal("the mirror still takes connections")
}

func TestServeTellsWhyItsListenerFailed(t *testing.T) {
	w := newWorld()
	m, err := New(Config{Blobs: w, Registries: w})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := m.Serve(context.Background(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

