package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// never is an Await whose byte does not come.
func never(ctx context.Context, _ int64) error {
	<-ctx.Done()
	return ctx.Err()
}

// onlyBefore is an Await of a blob whose bytes from end on do not come.
func onlyBefore(end int64) func(context.Context, int64) error {
	return func(ctx context.Context, off int64) error {
		if off < end {
			return nil
		}
		return never(ctx, off)
	}
}

func TestBlob(t *testing.T) {
	w := newWorld()
	data := pattern(2*piece.MinSize + 777)
	d, _ := w.add(data)
	lab := newLab(t, w, Config{})
	a := lab.do("GET", blobPath(d), "Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")
	if a.status != 200 || a.err != nil || !bytes.Equal(a.body, data) {
		t.Fatalf("got %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
	a.header.Del("Date")
	want := http.Header{
		"Accept-Ranges":                   {"bytes"},
		"Content-Length":                  {strconv.Itoa(len(data))},
		"Content-Type":                    {"application/octet-stream"},
		"Docker-Content-Digest":           {d.String()},
		"Docker-Distribution-Api-Version": {"registry/2.0"},
		"Server":                          {"p2pd"},
		"Etag":                            {`"` + d.String() + `"`},
	}
	if diff := cmp.Diff(want, a.header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	head := lab.do("HEAD", blobPath(d))
	head.header.Del("Date")
	if diff := cmp.Diff(want, head.header); diff != "" || head.status != 200 {
		t.Errorf("HEAD %d (-want +got):\n%s", head.status, diff)
	}
	if got := lab.openings()[0].source; got != (fakeSource{"blobs", testHost, testRepo, d}) {
		t.Errorf("opened with %v", got)
	}
	if lab.count(Blob, Served) != 2 || lab.mirror.Stats().Bytes != uint64(len(data)) {
		t.Errorf("stats %+v", lab.mirror.Stats())
	}
	if w.raw != 3 {
		t.Errorf("%d of 3 writes were to a ResponseWriter that can send files", w.raw)
	}
}

func TestRanges(t *testing.T) {
	w := newWorld()
	data := pattern(3 * piece.MinSize)
	d, _ := w.add(data)
	n := len(data)
	lab := newLab(t, w, Config{})
	tests := []struct {
		header   string
		status   int
		from, to int // of the body
	}{
		{"bytes=0-", 206, 0, n},
		{"bytes=0-0", 206, 0, 1},
		{"bytes=5-9", 206, 5, 10},
		{"bytes=1048575-1048576", 206, 1048575, 1048577},
		{"bytes=1048577-", 206, 1048577, n},
		{"bytes=3145727-", 206, n - 1, n},
		{"bytes=100-99999999", 206, 100, n},
		{"bytes=100-99999999999999999999999", 206, 100, n},
		{"bytes=-7", 206, n - 7, n},
		{"bytes=-99999999", 206, 0, n},
		{"Bytes=5-9", 206, 5, 10},
		{"bytes=3145728-", 416, 0, 0},
		{"bytes=99999999999999999999999-", 416, 0, 0},
		{"bytes=-0", 416, 0, 0},
		{"bytes=0-1,1-", 200, 0, n}, // more than there is
		{"bytes=5-9,99999999-", 206, 5, 10},
		{"bytes=99999999-,-0", 416, 0, 0},
		{"bytes=0-1,9-5", 200, 0, n},
		{"bytes=0-1,", 200, 0, n},
		{"bytes=9-5", 200, 0, n},
		{"bytes=-", 200, 0, n},
		{"bytes=", 200, 0, n},
		{"bytes=a-b", 200, 0, n},
		{"bytes=+1-2", 200, 0, n},
		{"bytes=--1", 200, 0, n},
		{"bytes 0-1", 200, 0, n},
		{"pieces=0-1", 200, 0, n},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			a := lab.do("GET", blobPath(d), "Range", tt.header)
			if a.status != tt.status {
				t.Fatalf("got %d, want %d", a.status, tt.status)
			}
			want := ""
			switch tt.status {
			case 206:
				want = fmt.Sprintf("bytes %d-%d/%d", tt.from, tt.to-1, n)
			case 416:
				want = fmt.Sprintf("bytes */%d", n)
				if code, _ := a.errorBody(); code != "RANGE_INVALID" {
					t.Errorf("body %s", a.body)
				}
			}
			if got := a.header.Get("Content-Range"); got != want {
				t.Errorf("Content-Range %q, want %q", got, want)
			}
			if tt.status != 416 && !bytes.Equal(a.body, data[tt.from:tt.to]) {
				t.Errorf("%d bytes that are not [%d, %d)", len(a.body), tt.from, tt.to)
			}
			if head := lab.do("HEAD", blobPath(d), "Range", tt.header); head.status != 200 {
				t.Errorf("HEAD got %d: it has no ranges", head.status)
			}
		})
	}
	t.Run("two headers", func(t *testing.T) {
		if a := lab.do("GET", blobPath(d), "Range", "bytes=0-1", "Range", "bytes=3-4"); a.status != 200 {
			t.Errorf("got %d", a.status)
		}
	})
}

func TestConditions(t *testing.T) {
	w := newWorld()
	d, _ := w.add([]byte("0123456789"))
	lab := newLab(t, w, Config{})
	tag := `"` + d.String() + `"`
	tests := []struct {
		name   string
		header []string
		status int
	}{
		{"has it", []string{"If-None-Match", tag}, 304},
		{"has it among others", []string{"If-None-Match", `"x", W/` + tag}, 304},
		{"has anything", []string{"If-None-Match", "*"}, 304},
		{"has other", []string{"If-None-Match", `"x"`}, 200},
		{"has it, asks for part", []string{"If-None-Match", tag, "Range", "bytes=1-"}, 304},
		{"resumes this", []string{"If-Range", tag, "Range", "bytes=1-"}, 206},
		{"resumes other", []string{"If-Range", `"x"`, "Range", "bytes=1-"}, 200},
		{"resumes other past the end", []string{"If-Range", `"x"`, "Range", "bytes=99-"}, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := lab.do("GET", blobPath(d), tt.header...)
			if a.status != tt.status {
				t.Errorf("got %d, want %d", a.status, tt.status)
			}
			if head := lab.do("HEAD", blobPath(d), tt.header...); (head.status == 304) != (tt.status == 304) {
				t.Errorf("HEAD got %d", head.status)
			}
			if a.status == 304 && (len(a.body) != 0 || a.header.Get("ETag") != tag) {
				t.Errorf("304 with %d bytes and %v", len(a.body), a.header)
			}
		})
	}
}

func TestEmptyBlob(t *testing.T) {
	w := newWorld()
	d, b := w.add(nil)
	b.await = func(context.Context, int64) error { return errors.New("there is nothing to await") }
	lying := piece.Sum([]byte("not empty"))
	w.blobs[lying] = &fakeBlob{}
	lab := newLab(t, w, Config{})
	for _, header := range []string{"", "bytes=0-", "bytes=5-"} {
		a := lab.do("GET", blobPath(d), "Range", header)
		if a.status != 200 || len(a.body) != 0 || a.header.Get("Content-Length") != "0" {
			t.Errorf("Range %q: %d %v", header, a.status, a.header)
		}
	}
	if a := lab.do("GET", blobPath(lying)); a.status != 503 {
		t.Errorf("no bytes for the digest of some: %d", a.status)
	}
}

// The body ends short of its Content-Length, with all bytes before the
// failure delivered, so that the client can resume at the very next byte.
func TestFailureMidwayCutsTheBody(t *testing.T) {
	data := pattern(3*piece.MinSize + 5)
	broken := errors.New("disk on fire")
	for _, at := range []int64{1, 100, 4096, piece.MinSize, piece.MinSize + 1, 3*piece.MinSize + 4} {
		for name, fails := range map[string]error{"with an error": broken, "without": nil} {
			t.Run(fmt.Sprintf("after %d bytes %s", at, name), func(t *testing.T) {
				w := newWorld()
				d, b := w.add(data)
				b.write = func(off, n int64) (int64, error) {
					if off+n > at {
						return at - off, fails
					}
					return n, nil
				}
				lab := newLab(t, w, Config{})
				a := lab.do("GET", blobPath(d))
				if a.status != 200 || !errors.Is(a.err, io.ErrUnexpectedEOF) || !bytes.Equal(a.body, data[:at]) {
					t.Fatalf("got %d, %d bytes, error %v; want %d bytes and an unexpected EOF", a.status, len(a.body), a.err, at)
				}
				w.change(func() { b.write = nil })
				rest := lab.do("GET", blobPath(d), "Range", fmt.Sprintf("bytes=%d-", at))
				if rest.status != 206 || !bytes.Equal(append(a.body, rest.body...), data) {
					t.Errorf("resumed with %d and %d bytes", rest.status, len(rest.body))
				}
				if lab.count(Blob, Cut) != 1 || lab.count(Blob, Served) != 1 {
					t.Errorf("counted %v", lab.mirror.Stats().Requests)
				}
			})
		}
	}
}

func TestNoFirstByteIsTold(t *testing.T) {
	w := newWorld()
	d, b := w.add(pattern(100))
	b.await = never
	lab := newLab(t, w, Config{FirstByteTimeout: time.Millisecond, Arrivals: new(arrivals)})
	for _, header := range []string{"", "bytes=0-", "bytes=50-"} {
		a := lab.do("GET", blobPath(d), "Range", header)
		if code, message := a.errorBody(); a.status != 503 || code != "UNAVAILABLE" || !strings.Contains(message, "in time") {
			t.Errorf("Range %q: %d %s", header, a.status, a.body)
		}
	}
}

func TestStallCutsTheBody(t *testing.T) {
	w := newWorld()
	data := pattern(3 * piece.MinSize)
	d, b := w.add(data)
	b.await = onlyBefore(2 * piece.MinSize)
	lab := newLab(t, w, Config{StallTimeout: time.Millisecond, Arrivals: new(arrivals)})
	a := lab.do("GET", blobPath(d))
	if a.status != 200 || !errors.Is(a.err, io.ErrUnexpectedEOF) || !bytes.Equal(a.body, data[:2*piece.MinSize]) {
		t.Errorf("got %d, %d bytes, %v", a.status, len(a.body), a.err)
	}
	if lab.count(Blob, Cut) != 1 {
		t.Errorf("counted %v", lab.mirror.Stats().Requests)
	}
}

// A later chunk of a parallel fetch must not be refused at first: that would
// fail the pull. It is cut, and refused when containerd comes back.
func TestLaterChunksAreCutBeforeTheyAreRefused(t *testing.T) {
	gone := &peer.OriginError{Status: 404, Message: "deleted meanwhile"}
	failures := map[string]func(b *fakeBlob){
		"open":  func(b *fakeBlob) { b.err = gone },
		"await": func(b *fakeBlob) { b.await = func(context.Context, int64) error { return gone } },
	}
	for name, breakIt := range failures {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			data := pattern(3 * piece.MinSize)
			d, b := w.add(data)
			lab := newLab(t, w, Config{})
			lab.mirror.sizes.learn(testHost, testRepo, promise{d, int64(len(data))})
			if a := lab.do("GET", blobPath(d), "Range", "bytes=0-"); a.status != 206 {
				t.Fatalf("first chunk: %d", a.status)
			}
			w.change(func() { breakIt(b) })
			for _, off := range []int{piece.MinSize, 2 * piece.MinSize} {
				header := fmt.Sprintf("bytes=%d-", off)
				a := lab.do("GET", blobPath(d), "Range", header)
				want := fmt.Sprintf("bytes %d-%d/%d", off, len(data)-1, len(data))
				if a.status != 206 || a.header.Get("Content-Range") != want || len(a.body) != 0 || !errors.Is(a.err, io.ErrUnexpectedEOF) {
					t.Errorf("%s: %d %v, %d bytes, %v", header, a.status, a.header, len(a.body), a.err)
				}
				a = lab.do("GET", blobPath(d), "Range", header)
				if _, message := a.errorBody(); a.status != 404 || !strings.Contains(message, "deleted meanwhile") {
					t.Errorf("%s again: %d %s", header, a.status, a.body)
				}
			}
			if a := lab.do("GET", blobPath(d), "Range", "bytes=0-"); a.status != 404 {
				t.Errorf("a new first chunk: %d", a.status)
			}
			if a := lab.do("GET", blobPath(d)); a.status != 404 {
				t.Errorf("a new pull: %d", a.status)
			}
		})
	}
}

// Many clients read ranges of one blob whose pieces arrive meanwhile.
func TestConcurrentReaders(t *testing.T) {
	w := newWorld()
	data := pattern(4*piece.MinSize + 99)
	d, b := w.add(data)
	var arrived [5]chan struct{}
	for i := range arrived {
		arrived[i] = make(chan struct{})
	}
	b.await = func(ctx context.Context, off int64) error {
		select {
		case <-arrived[off/piece.MinSize]:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	lab := newLab(t, w, Config{FirstByteTimeout: time.Minute, StallTimeout: time.Minute})
	var readers sync.WaitGroup
	for i := range 16 {
		off := i * len(data) / 16
		readers.Go(func() {
			a := lab.do("GET", blobPath(d), "Range", fmt.Sprintf("bytes=%d-", off))
			if a.status != 206 || a.err != nil || !bytes.Equal(a.body, data[off:]) {
				t.Errorf("from %d: %d, %d bytes, %v", off, a.status, len(a.body), a.err)
			}
		})
	}
	for _, i := range []int{3, 0, 4, 2, 1} {
		close(arrived[i])
	}
	readers.Wait()
	if lab.count(Blob, Served) != 16 {
		t.Errorf("counted %v", lab.mirror.Stats().Requests)
	}
}
