package origin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Every range comes out as asked for, by HTTP/1.1 and by HTTP/2, and the
// registry is asked for that range alone.
func TestBlobRanges(t *testing.T) {
	content := some(300_000)
	d := piece.Sum(content)
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		l := newLab(t)
		l.serveTLS(registryHost, protocol == "HTTP/2.0", open(ranged(content)))
		o := l.origin(Config{Registries: []Registry{{Host: registryHost}}})
		for _, c := range []struct {
			off, n int64
			header string
			want   []byte
		}{
			{0, -1, "", content},
			{0, 1, "bytes=0-0", content[:1]},
			{0, 300_000, "bytes=0-299999", content},
			{1000, 70_000, "bytes=1000-70999", content[1000:71_000]},
			{299_999, 1, "bytes=299999-299999", content[299_999:]},
			{200_000, -1, "bytes=200000-", content[200_000:]},
			{299_000, 5000, "bytes=299000-303999", content[299_000:]},
		} {
			got, size, err := read(t, o, d, c.off, c.n)
			if err != nil || size != 300_000 || !bytes.Equal(got, c.want) {
				t.Errorf("%s [%d, +%d): %d bytes of %d, %v", protocol, c.off, c.n, len(got), size, err)
			}
			asked := l.asked(registryHost)
			last := asked[len(asked)-1]
			if last.header.Get("Range") != c.header || last.proto != protocol || last.header.Get("Accept-Encoding") != identity {
				t.Errorf("%s [%d, +%d) asked %s %v", protocol, c.off, c.n, last.proto, last.header)
			}
		}
	}
}

func TestBlobReadsThatMakeNoSense(t *testing.T) {
	l := newLab(t)
	l.serve(registryHost, open(ranged(some(10))))
	o := l.origin(Config{})
	for _, c := range [][2]int64{{-1, 5}, {0, 0}, {5, 0}, {1 << 62, 1 << 62}, {0, 1 << 62}} {
		if _, _, err := read(t, o, piece.Digest{1}, c[0], c[1]); err == nil {
			t.Errorf("[%d, +%d) can be read", c[0], c[1])
		}
	}
	if n := len(l.asked(registryHost)); n != 0 {
		t.Errorf("the registry was asked %d times", n)
	}
}

func TestRegistryIgnoresRange(t *testing.T) {
	content := some(1000)
	l := newLab(t)
	l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(content)
	}))
	o := l.origin(Config{})
	for _, c := range []struct {
		off, n int64
		want   error
	}{
		{0, -1, nil}, {0, 1000, nil},
		{0, 999, peer.ErrNoRange}, {0, 1001, peer.ErrNoRange}, {1, 999, peer.ErrNoRange}, {1, -1, peer.ErrNoRange},
		{1, 1000, peer.ErrNoRange},
	} {
		got, size, err := read(t, o, piece.Digest{1}, c.off, c.n)
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || size != 1000 || !bytes.Equal(got, content)) {
			t.Errorf("[%d, +%d): %d bytes of %d, %v", c.off, c.n, len(got), size, err)
		}
	}
	if o.Stats().Inflight != 0 {
		t.Errorf("%d requests left", o.Stats().Inflight)
	}
}

// What a hostile or broken registry says of its answer is believed only where
// it fits the question and itself. The question is always [10, +20).
func TestHostileAnswers(t *testing.T) {
	const bytes20 = "01234567890123456789"
	for name, c := range map[string]struct {
		answer string
		want   string // in the error; empty for success
	}{
		"right":             {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/100\nContent-Length: 20\n\n" + bytes20, ""},
		"size not told":     {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/*\nContent-Length: 20\n\n" + bytes20, ""},
		"end of the blob":   {"HTTP/1.1 206 x\nContent-Range: bytes 10-14/15\nContent-Length: 5\n\n01234", ""},
		"ends with conn":    {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/100\nConnection: close\n\n" + bytes20, ""},
		"more than it says": {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/100\nConnection: close\n\n" + bytes20 + "more", ""},

		"truncated":            {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/100\nContent-Length: 20\n\n0123", "unexpected EOF"},
		"truncated, no length": {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/100\nConnection: close\n\n0123", "16 bytes early"},
		"truncated chunks":     {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/100\nTransfer-Encoding: chunked\n\n4\n0123\n", "unexpected EOF"},
		"shorter":              {"HTTP/1.1 206 x\nContent-Range: bytes 10-19/100\nContent-Length: 10\n\n0123456789", peer.ErrNoRange.Error()},
		"other start":          {"HTTP/1.1 206 x\nContent-Range: bytes 0-19/100\nContent-Length: 20\n\n" + bytes20, "from 0"},
		"longer":               {"HTTP/1.1 206 x\nContent-Range: bytes 10-99/100\nContent-Length: 90\n\n" + bytes20, "90 bytes where 20"},
		"length disagrees":     {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/100\nContent-Length: 10\n\n0123456789", "Content-Length 10"},
		"beyond its end":       {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/20\nContent-Length: 20\n\n" + bytes20, "makes no sense"},
		"backwards":            {"HTTP/1.1 206 x\nContent-Range: bytes 29-10/100\nContent-Length: 20\n\n" + bytes20, "makes no sense"},
		"too many digits":      {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/99999999999999999999\nContent-Length: 20\n\n" + bytes20, "malformed"},
		"negative":             {"HTTP/1.1 206 x\nContent-Range: bytes -10-29/100\nContent-Length: 20\n\n" + bytes20, "malformed"},
		"no Content-Range":     {"HTTP/1.1 206 x\nContent-Length: 20\n\n" + bytes20, "malformed"},
		"multipart":            {"HTTP/1.1 206 x\nContent-Type: multipart/byteranges; boundary=x\nContent-Length: 20\n\n" + bytes20, "malformed"},
		"immense":              {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/999999999999999999\nContent-Length: 20\n\n" + bytes20, "the most that is read"},
		"compressed":           {"HTTP/1.1 206 x\nContent-Encoding: gzip\nContent-Range: bytes 10-29/100\nContent-Length: 20\n\n" + bytes20, `"gzip"`},
		"no content":           {"HTTP/1.1 204 x\n\n", "origin answered 204"},
		"two lengths":          {"HTTP/1.1 206 x\nContent-Range: bytes 10-29/100\nContent-Length: 20\nContent-Length: 21\n\n" + bytes20, "Content-Length"},
		"no HTTP":              {"SSH-2.0-x\n\n", "malformed"},
		"immense header":       {"HTTP/1.1 206 x\nX: " + strings.Repeat("x", 2*egress.MaxHeaderBytes) + "\n\n", "header"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.serve(registryHost, open(raw(c.answer)))
			o := l.origin(Config{})
			got, _, err := read(t, o, piece.Digest{1}, 10, 20)
			switch {
			case c.want == "" && (err != nil || !strings.HasPrefix(bytes20, string(got)) || len(got) < 5):
				t.Errorf("%q, %v", got, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %q, %v; want an error with %q", got, err, c.want)
			}
			if s := o.Stats(); s.Inflight != 0 {
				t.Errorf("%d requests left", s.Inflight)
			}
		})
	}
}

// A whole read must not take an end of the connection for the end of a blob
// whose length was told, nor a part for the whole.
func TestHostileAnswersToAWholeRead(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 x\nContent-Length: 20\n\n0123":                            "unexpected EOF",
		"HTTP/1.1 206 x\nContent-Range: bytes 0-3/4\nContent-Length: 4\n\n0123": "all was asked for",
		"HTTP/1.1 200 x\nContent-Length: 9000000000000000000\n\n0123":           "the most that is read",
		"HTTP/1.1 200 x\nContent-Length: -5\n\n0123":                            "Content-Length",
		"HTTP/1.1 200 x\nContent-Encoding: zstd\nContent-Length: 4\n\n0123":     `"zstd"`,
		"HTTP/1.1 416 x\nContent-Range: bytes */9\nContent-Length: 0\n\n":       "origin answered 416",
		"HTTP/1.1 304 x\n\n": "origin answered 304",
	} {
		l := newLab(t)
		l.serve(registryHost, open(raw(answer)))
		if got, _, err := read(t, l.origin(Config{}), piece.Digest{1}, 0, -1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", answer, got, err)
		}
	}
}

func TestSizeNotTold(t *testing.T) {
	content := some(100_000)
	l := newLab(t)
	l.serve(registryHost, open(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // the answer is chunked
		_, _ = w.Write(content)
	}))
	got, size, err := read(t, l.origin(Config{}), piece.Digest{1}, 0, -1)
	if err != nil || size != scheduler.SizeUnknown || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d, %v", len(got), size, err)
	}
}

func TestBlobStat(t *testing.T) {
	content := some(1234)
	for name, h := range map[string]http.HandlerFunc{
		"by HEAD": ranged(content),
		"HEAD refused, ranges": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			ranged(content)(w, r)
		},
		"HEAD without length, no ranges": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				return
			}
			_, _ = w.Write(content)
		},
	} {
		l := newLab(t)
		l.serve(registryHost, open(h))
		src, err := l.origin(Config{}).Blob(registryHost, repo, piece.Digest{1})
		if err != nil {
			t.Fatal(err)
		}
		if size, err := src.Stat(deadline(t)); size != 1234 || err != nil {
			t.Errorf("%s: %d, %v", name, size, err)
		}
	}
}

// One connection serves reads that follow each other, the ping included, and
// parallel ones get one each.
func TestConnectionsAreKept(t *testing.T) {
	content := some(100_000)
	l := newLab(t)
	l.serve(registryHost, open(ranged(content)))
	o := l.origin(Config{})
	for i := range int64(20) {
		if _, _, err := read(t, o, piece.Digest{1}, i*1000, 5000); err != nil {
			t.Fatal(err)
		}
	}
	if l.dialled() != 1 {
		t.Errorf("20 reads took %d connections", l.dialled())
	}
	src, err := o.Blob(registryHost, repo, piece.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		before := l.dialled()
		var bodies []io.ReadCloser
		for range 16 {
			body, _, err := src.Read(deadline(t), 10, 50_000)
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, body)
		}
		var readers sync.WaitGroup
		for _, body := range bodies {
			readers.Go(func() {
				defer body.Close()
				if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, content[10:50_010]) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		readers.Wait()
		if round == 1 && l.dialled() != before {
			t.Errorf("16 parallel reads made %d new connections", l.dialled()-before)
		}
	}
}

func TestStats(t *testing.T) {
	content := some(1000)
	l := newLab(t)
	l.serve(registryHost, open(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, piece.Digest{2}.String()) {
			http.NotFound(w, r)
			return
		}
		ranged(content)(w, r)
	}))
	o := l.origin(Config{})
	if _, _, err := read(t, o, piece.Digest{1}, 0, 400); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, o, piece.Digest{2}, 0, 400); err == nil {
		t.Fatal("read of what is not there")
	}
	src, err := o.Manifest(registryHost, repo, piece.Digest{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Stat(deadline(t)); err != nil {
		t.Fatal(err)
	}
	s := o.Stats()
	got := fmt.Sprint(s.Bytes, s.Handshakes, s.Errors, s.Inflight)
	for _, key := range [][2]string{{"auth", "2"}, {"blob_get", "2"}, {"blob_get", "4"}, {"manifest_head", "2"}, {"manifest_get", "2"}} {
		got += fmt.Sprint(" ", requests(s, key[0], key[1]))
	}
	if want := "400 1 0 0 1 1 1 1 0"; got != want {
		t.Errorf("%s, want %s: %+v", got, want, s)
	}
}
