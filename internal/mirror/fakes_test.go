package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testHost = "registry.lab.test:5000"
	testRepo = "team/app"
)

// world is what a mirror is put between in tests: blobs by digest, tags, and
// the ways in which they fail. It counts what is asked of it.
type world struct {
	mu       sync.Mutex
	blobs    map[piece.Digest]*fakeBlob
	tags     map[string]Descriptor // by "host/repo:tag"
	resolve  error                 // of every Resolve, if set
	source   error                 // of every Blob and Manifest, if set
	opened   []opening
	resolved int
	open     int // contents not closed
	raw      int // WriteRange calls that were given a raw ResponseWriter
}

// opening is one call of Open.
type opening struct {
	digest piece.Digest
	size   int64
	source fakeSource
}

// fakeBlob is content and how it fails, as Open finds it. Once it is served,
// change makes changes to it.
type fakeBlob struct {
	data  []byte
	err   error                                        // of Open
	await func(ctx context.Context, off int64) error   // nil: all is here
	write func(off, n int64) (may int64, failed error) // nil: all is written
	given [2]int64                                     // by peers and origin
	// writing is told of each WriteRange, if set.
	writing func(ctx context.Context, off, n int64)
}

func newWorld() *world {
	return &world{blobs: make(map[piece.Digest]*fakeBlob), tags: make(map[string]Descriptor)}
}

// add makes data available and returns its digest.
func (w *world) add(data []byte) (piece.Digest, *fakeBlob) {
	b := &fakeBlob{data: data}
	d := piece.Sum(data)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blobs[d] = b
	return d, b
}

// change changes how the world behaves while it is in use.
func (w *world) change(how func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	how()
}

func (w *world) openings() []opening {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]opening(nil), w.opened...)
}

func (w *world) Open(_ context.Context, d piece.Digest, size int64, src peer.Source) (Content, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened = append(w.opened, opening{d, size, src.(fakeSource)})
	b, ok := w.blobs[d]
	if !ok {
		return nil, &peer.OriginError{Status: http.StatusNotFound, Message: "never heard of it"}
	}
	if b.err != nil {
		return nil, b.err
	}
	w.open++
	return &fakeContent{fakeBlob: *b, w: w}, nil
}

func (w *world) Resolve(_ context.Context, host, repo, tag string) (Descriptor, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resolved++
	if w.resolve != nil {
		return Descriptor{}, w.resolve
	}
	d, ok := w.tags[host+"/"+repo+":"+tag]
	if !ok {
		return Descriptor{}, &peer.OriginError{Status: http.StatusNotFound, Message: "no such tag"}
	}
	return d, nil
}

func (w *world) Blob(host, repo string, d piece.Digest) (peer.Source, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fakeSource{"blobs", host, repo, d}, w.source
}

func (w *world) Manifest(host, repo string, d piece.Digest) (peer.Source, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fakeSource{"manifests", host, repo, d}, w.source
}

// fakeSource only says what it was bound to; the mirror must not read it.
type fakeSource struct {
	collection, host, repo string
	digest                 piece.Digest
}

func (s fakeSource) Host() string { return s.host }

func (s fakeSource) Read(context.Context, int64, int64) (io.ReadCloser, int64, error) {
	return nil, 0, errors.New("the mirror read from the origin itself")
}

func (s fakeSource) Stat(context.Context) (int64, error) {
	return 0, errors.New("the mirror asked the origin itself")
}

type fakeContent struct {
	fakeBlob
	w      *world
	closed bool
}

func (c *fakeContent) Size() int64 { return int64(len(c.data)) }

func (c *fakeContent) Await(ctx context.Context, off int64) error {
	if off < 0 || off >= c.Size() {
		return errors.New("await outside the blob")
	}
	if c.await == nil {
		return nil
	}
	return c.await(ctx, off)
}

func (c *fakeContent) WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	if c.writing != nil {
		c.writing(ctx, off, n)
	}
	if _, ok := w.(http.ResponseWriter); ok {
		if _, ok := w.(io.ReaderFrom); ok {
			c.w.mu.Lock()
			c.w.raw++
			c.w.mu.Unlock()
		}
	}
	may, failed := n, error(nil)
	if c.write != nil {
		may, failed = c.write(off, n)
	}
	wrote, err := io.Copy(w, bytes.NewReader(c.data[off:off+may]))
	return wrote, errors.Join(err, failed)
}

func (c *fakeContent) Given() (peers, origin int64) { return c.given[0], c.given[1] }

func (c *fakeContent) Close() error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.closed {
		return errors.New("closed twice")
	}
	c.closed = true
	c.w.open--
	return nil
}

// lab is a mirror that serves a world on loopback.
type lab struct {
	*world
	t      *testing.T
	mirror *Mirror
	url    string
	client *http.Client
	end    func() // stops Serve and waits for it; may be called again
	cancel context.CancelFunc
}

// newLab starts a mirror. When the test ends, it must stop cleanly and all
// content must have been closed.
func newLab(t *testing.T, w *world, cfg Config) *lab {
	t.Helper()
	cfg.Blobs = w
	if cfg.Registries == nil {
		cfg.Registries = w
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	transport := &http.Transport{DisableCompression: true}
	lab := &lab{world: w, t: t, mirror: m, url: "http://" + l.Addr().String(), cancel: stop,
		client: &http.Client{Transport: transport, Timeout: time.Minute}}
	ended := make(chan error, 1)
	go func() { ended <- m.Serve(ctx, l) }()
	lab.end = sync.OnceFunc(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		lab.end()
		if w.open != 0 {
			t.Errorf("%d contents were not closed", w.open)
		}
		if n := m.Stats().Running; n != 0 {
			t.Errorf("%d requests run after Serve", n)
		}
	})
	return lab
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body
}

// errorBody is the first error of an OCI error body; empty if it is none.
func (a answer) errorBody() (code, message string) {
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &body) != nil || len(body.Errors) != 1 {
		return "", ""
	}
	return body.Errors[0].Code, body.Errors[0].Message
}

// do sends a request with headers given as name, value, name, value.
func (l *lab) do(method, path string, headers ...string) answer {
	l.t.Helper()
	req, err := http.NewRequest(method, l.url+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := l.client.Do(req)
	if err != nil {
		l.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, err}
}

// count ends the lab and is how many requests of a kind ended in a way.
func (l *lab) count(k Kind, o Outcome) uint64 {
	l.end()
	return l.mirror.Stats().Requests[Ending{Kind: k, Outcome: o}]
}

func blobPath(d piece.Digest) string {
	return "/v2/" + testRepo + "/blobs/" + d.String() + "?ns=registry.lab.test%3A5000"
}

func manifestPath(reference string) string {
	return "/v2/" + testRepo + "/manifests/" + reference + "?ns=registry.lab.test%3A5000"
}

// pattern is n bytes that differ from place to place.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return p
}
