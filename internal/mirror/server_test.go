package mirror

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
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
	var ended atomic.Bool
	b.await = func(ctx context.Context, off int64) error {
		if off == 0 {
			return nil
		}
		close(waiting)
		err := never(ctx, off)
		time.Sleep(20 * time.Millisecond) // a handler that takes its time to end
		ended.Store(true)
		return err
	}
	lab := newLab(t, w, Config{Drain: time.Millisecond, StallTimeout: time.Hour})
	got := make(chan answer, 1)
	go func() { got <- lab.do("GET", blobPath(d)) }()
	<-waiting
	lab.end()
	if !ended.Load() {
		t.Error("Serve returned before its handlers")
	}
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

func TestLog(t *testing.T) {
	w := newWorld()
	d, b := w.add(pattern(10))
	var out bytes.Buffer
	lab := newLab(t, w, Config{Log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	lab.do("GET", blobPath(d), "Range", "bytes=4-")
	w.change(func() { b.err = errors.New("no route") })
	lab.do("GET", blobPath(d))
	lab.end()
	for _, line := range []string{
		`level=DEBUG msg="mirror answered" method=GET path=/v2/team/app/blobs/` + d.String() +
			` registry=registry.lab.test:5000 range="bytes=4-" status=206 outcome=served bytes=6 `,
		`level=INFO msg="mirror answered" method=GET path=/v2/team/app/blobs/` + d.String() +
			` registry=registry.lab.test:5000 range="" status=503 outcome=failed bytes=0 `,
		`no route"`,
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("not logged: %s\n%s", line, &out)
		}
	}
}

// fileWorld serves one file, as the disk store does.
type fileWorld struct {
	*world
	path string
	size int64
}

func (f fileWorld) Open(context.Context, piece.Digest, int64, peer.Source) (Content, error) {
	file, err := os.Open(f.path)
	return fileContent{file, f.size}, err
}

type fileContent struct {
	*os.File
	size int64
}

func (c fileContent) Size() int64                        { return c.size }
func (c fileContent) Given() (peers, origin int64)       { return 0, 0 }
func (c fileContent) Await(context.Context, int64) error { return nil }
func (c fileContent) WriteRange(_ context.Context, w io.Writer, off, n int64) (int64, error) {
	if _, err := c.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	return io.CopyN(w, c.File, n)
}

// BenchmarkFile compares a blob from a file with what net/http does for it.
func BenchmarkFile(b *testing.B) {
	const size = 256 << 20
	path := filepath.Join(b.TempDir(), "blob")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	w := fileWorld{newWorld(), path, size}
	m, err := New(Config{Blobs: w, Registries: w})
	if err != nil {
		b.Fatal(err)
	}
	handlers := map[string]http.Handler{
		"mirror":   m,
		"net-http": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }),
	}
	for name, h := range handlers {
		b.Run(name, func(b *testing.B) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			b.SetBytes(size)
			for b.Loop() {
				resp, err := srv.Client().Get(srv.URL + blobPath(piece.Sum(nil)))
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
					b.Fatalf("%d bytes, %v", n, err)
				}
				resp.Body.Close()
			}
		})
	}
}
