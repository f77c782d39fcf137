package origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/throttle"
	"github.com/p2pd/p2pd/pkg/piece"
)

// An origin that stops in the middle of a body is given up, and the
// connection with it.
func TestStall(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		l := newLab(t)
		gone := make(chan struct{})
		l.serveTLS(registryHost, http2, open(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "0123456789")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(gone)
		}))
		o := l.origin(Config{Registries: []Registry{{Host: registryHost}}, StallTimeout: 500 * time.Millisecond})
		got, size, err := read(t, o, piece.Digest{1}, 0, -1)
		if string(got) != "0123456789" || size != 100 || !errors.Is(err, errStalled) {
			t.Errorf("http2 %v: %q of %d, %v", http2, got, size, err)
		}
		if s := o.Stats(); s.Errors != 1 || s.Inflight != 0 || s.Bytes != 10 {
			t.Errorf("http2 %v: %+v", http2, s)
		}
		select {
		case <-gone:
		case <-time.After(patience):
			t.Errorf("http2 %v: the registry was left waiting", http2)
		}
	}
}

// Waiting for our own limit is no stall, nor is a reader that is slow to come
// back. Time is virtual.
func TestOwnWaitsAreNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Origin{cfg: Config{StallTimeout: time.Second, Download: throttle.New(throttle.Burst / 10)}}
		ctx, cancel := context.WithCancel(t.Context())
		content := some(3 * throttle.Burst)
		a := &answer{endpoint: new(endpoint), Response: &http.Response{Body: io.NopCloser(bytes.NewReader(content))}, ctx: ctx, end: cancel}
		body := o.body(a, int64(len(content)))
		defer body.Close()
		begin := time.Now()
		head := make([]byte, 100)
		if _, err := io.ReadFull(body, head); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		rest, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(append(head, rest...), content) {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
		if ctx.Err() != nil || time.Since(begin) < time.Hour+10*time.Second {
			t.Errorf("%v after %v", ctx.Err(), time.Since(begin))
		}
	})
}

// Only silence for the whole time is a stall; a trickle is not.
func TestTrickleIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &Origin{cfg: Config{StallTimeout: time.Second}}
		r, w := io.Pipe()
		a := &answer{endpoint: new(endpoint), Response: &http.Response{Body: r}, ctx: t.Context(), end: func() { _ = r.CloseWithError(context.Canceled) }}
		body := o.body(a, 10)
		defer body.Close()
		go func() {
			for range 5 {
				time.Sleep(999 * time.Millisecond)
				_, _ = w.Write([]byte{1})
			}
		}()
		begin := time.Now()
		got, err := io.ReadAll(body)
		if len(got) != 5 || !errors.Is(err, errStalled) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if took, want := time.Since(begin), 5*999*time.Millisecond+time.Second; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
	})
}

func TestHeadersThatNeverCome(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, open(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	o := l.origin(Config{HeaderTimeout: 500 * time.Millisecond})
	src, err := o.Blob(registryHost, repo, piece.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	ctx := deadline(t)
	if _, _, err := src.Read(ctx, 0, -1); err == nil || ctx.Err() != nil {
		t.Errorf("%v; the test's own end: %v", err, ctx.Err())
	}
	if s := o.Stats(); s.Errors != 1 || s.Inflight != 0 {
		t.Errorf("%+v", s)
	}
}

// A read ends with its context, and closing ends a read that waits.
func TestReadsEnd(t *testing.T) {
	for _, how := range []string{"context", "close"} {
		l := newLab(t)
		l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		o := l.origin(Config{StallTimeout: time.Hour})
		src, err := o.Blob(registryHost, repo, piece.Digest{1})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(deadline(t))
		body, _, err := src.Read(ctx, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := body.Read(make([]byte, 1))
			ended <- err
		}()
		if how == "context" {
			cancel()
		} else {
			body.Close()
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: a byte that was never sent", how)
		}
		cancel()
		body.Close()
		body.Close()
		if s := o.Stats(); s.Inflight != 0 || s.Errors != 0 {
			t.Errorf("%s: %+v", how, s)
		}
	}
}
