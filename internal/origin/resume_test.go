package origin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// brokenOff serves content with ranges, and ends every body after most bytes
// that has more.
func brokenOff(content []byte, most int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		inner := &short{ResponseWriter: w, left: most}
		http.ServeContent(inner, r, "", time.Time{}, bytes.NewReader(content))
		if inner.cut {
			panic(http.ErrAbortHandler)
		}
	}
}

type short struct {
	http.ResponseWriter
	left int
	cut  bool
}

func (s *short) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p[:min(len(p), s.left)])
	s.left -= n
	_ = http.NewResponseController(s.ResponseWriter).Flush()
	if err == nil && n < len(p) {
		s.cut, err = true, io.ErrShortWrite
	}
	return n, err
}

// A body that ends early is gone on with where it ended, and no byte is asked
// for twice.
func TestBrokenBodiesAreResumed(t *testing.T) {
	const most = 200 << 10
	content := some(1 << 20)
	for _, test := range []struct{ off, n, requests int }{
		{0, -1, 6},
		{100, 900_000, 5},
		{5, most, 1},
	} {
		l := newLab(t)
		l.serve(registryHost, open(brokenOff(content, most)))
		o := l.origin(Config{})
		got, size, err := read(t, o, piece.Digest{1}, int64(test.off), int64(test.n))
		end := len(content)
		if test.n > 0 {
			end = test.off + test.n
		}
		if err != nil || size != 1<<20 || !bytes.Equal(got, content[test.off:end]) {
			t.Fatalf("%+v: %d bytes of %d, %v", test, len(got), size, err)
		}
		if s := o.Stats(); s.Bytes != int64(end-test.off) || s.Inflight != 0 {
			t.Errorf("%+v: %+v", test, s)
		}
		var ranges []string
		for _, s := range l.asked(registryHost) {
			if strings.HasSuffix(s.path, piece.Digest{1}.String()) {
				ranges = append(ranges, s.header.Get("Range"))
			}
		}
		if len(ranges) != test.requests {
			t.Errorf("%+v: asked for %q", test, ranges)
		}
		for i, got := range ranges[1:] {
			if want := fmt.Sprintf("bytes=%d-%d", test.off+(i+1)*most, end-1); got != want {
				t.Errorf("%+v: request %d asked for %q, want %q", test, i+2, got, want)
			}
		}
	}
}

// What brings little before it ends, changes its mind about the size, or
// knows no ranges, is not asked on and on.
func TestNotWorthResuming(t *testing.T) {
	content := some(1 << 20)
	const most = 128 << 10
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		got     int
	}{
		"little": {brokenOff(content, worthResuming-1), worthResuming - 1},
		"no ranges": {func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			brokenOff(content, most)(w, r)
		}, most},
		"another size": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				brokenOff(content, most)(w, r)
			} else {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", most, 1<<20-1, 2<<20))
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(content[most:])
			}
		}, most},
		"refusal": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			brokenOff(content, most)(w, r)
		}, most},
	} {
		l := newLab(t)
		l.serve(registryHost, open(test.handler))
		o := l.origin(Config{})
		got, _, err := read(t, o, piece.Digest{1}, 0, -1)
		if len(got) != test.got || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if s := o.Stats(); s.Inflight != 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
