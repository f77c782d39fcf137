package storetest

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Run holds a store to the contract in pkg/peer/needs.go. open makes an empty
// store for capacity bytes and sees to its end; 0 means as much as it takes.
func Run(t *testing.T, open func(t *testing.T, capacity int64) peer.Store) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s peer.Store)
	}{
		{"a blob goes in by piece and comes out whole", roundTrip},
		{"an empty blob", emptyBlob},
		{"a claim is taken from a trusted reader", claimTaken},
		{"wrong bytes are refused", wrongBytes},
		{"a short reader", shortReader},
		{"a failing reader", failingReader},
		{"a reader that gives more than the piece", longReader},
		{"a piece that is here is not read again", receiveAgain},
		{"a piece out of the blob", outOfBlob},
		{"a context that has ended", endedContext},
		{"forget", forget},
		{"verify and commit need all pieces", incomplete},
		{"verify finds a false blob", falseBlob},
		{"verify does not publish", verifyOnly},
		{"one open ingest a digest", oneIngest},
		{"a closed ingest goes on later", goesOn},
		{"a claim false in one ingest is forgotten in the next", forgottenStays},
		{"another size begins anew", otherSize},
		{"ingest of a whole blob", ingestWhole},
		{"a closed ingest takes nothing", closedIngest},
		{"several readers at their own offsets", severalReaders},
		{"readers survive commit and close", readerSurvivesCommit},
		{"two receives of one piece", twoReceives},
		{"the second receive takes over from a failed one", takeOver},
		{"many receives, some of them false", manyReceives},
		{"readers race with commit", readersRaceCommit},
		{"close while a receive waits for bytes", closeDuringReceive},
		{"what is not here", notHeld},
		{"to look whether a blob is here", has},
		{"held has the newest use first", heldOrder},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t, 0)) })
	}
	t.Run("space", func(t *testing.T) { runSpace(t, open) })
}

const mib = 1 << 20

// Random is size bytes that depend on seed alone, and their digest.
func Random(seed uint64, size int) ([]byte, piece.Digest) {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b, piece.Sum(b)
}

// sample is a blob to test with: several pieces, the last one short.
type sample struct {
	bytes  []byte
	digest piece.Digest
	layout piece.Layout
}

func newSample(seed uint64, size int) sample {
	b, d := Random(seed, size)
	l, err := piece.NewLayout(int64(size))
	if err != nil {
		panic(err) // a size that no test should ask for
	}
	return sample{b, d, l}
}

func (s sample) piece(i int) []byte {
	off, n := s.layout.Bounds(i)
	return s.bytes[off : off+n]
}

func (s sample) reader(i int) io.Reader { return bytes.NewReader(s.piece(i)) }

func (s sample) claim(i int) piece.Digest { return piece.Sum(s.piece(i)) }

// wrong is as long as piece i and differs in one byte.
func (s sample) wrong(i int) io.Reader {
	b := bytes.Clone(s.piece(i))
	b[len(b)-1]++
	return bytes.NewReader(b)
}

func begin(t *testing.T, st peer.Store, s sample) peer.Ingest {
	t.Helper()
	in, err := st.Ingest(t.Context(), s.digest, s.layout)
	if err != nil {
		t.Fatalf("ingest: %v", err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in
}

func receive(t *testing.T, in peer.Ingest, s sample, pieces ...int) {
	t.Helper()
	for _, i := range pieces {
		got, err := in.Receive(t.Context(), i, s.reader(i), s.claim(i))
		if err != nil {
			t.Fatalf("receive piece %d: %v", i, err)
		}
		if got != s.claim(i) {
			t.Fatalf("receive piece %d gave claim %s, want %s", i, got.Short(), s.claim(i).Short())
		}
	}
}

func receiveAll(t *testing.T, in peer.Ingest, s sample) {
	t.Helper()
	for i := range s.layout.Count() {
		receive(t, in, s, i)
	}
}

// put stores s whole and leaves it unpinned.
func put(t *testing.T, st peer.Store, s sample) {
	t.Helper()
	in := begin(t, st, s)
	receiveAll(t, in, s)
	if err := in.Commit(t.Context()); err != nil {
		t.Fatalf("commit: %v", err)
	}
	closeIt(t, in)
}

func closeIt(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// mustOpen opens a whole blob; it is closed at the latest with the test.
func mustOpen(t *testing.T, st peer.Store, d piece.Digest) peer.Blob {
	t.Helper()
	b, err := st.Open(d)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// opener is what Blob and Ingest have in common.
type opener interface {
	NewReader() (io.ReadSeekCloser, error)
}

func mustReader(t *testing.T, o opener) io.ReadSeekCloser {
	t.Helper()
	r, err := o.NewReader()
	if err != nil {
		t.Fatalf("new reader: %v", err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func readAll(t *testing.T, r io.Reader, want []byte) {
	t.Helper()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, want %d of other content", len(got), len(want))
	}
}

// readPiece reads piece i of s through r and compares.
func readPiece(t *testing.T, r io.ReadSeeker, s sample, i int) {
	t.Helper()
	off, n := s.layout.Bounds(i)
	if _, err := r.Seek(off, io.SeekStart); err != nil {
		t.Fatalf("seek: %v", err)
	}
	readAll(t, io.LimitReader(r, n), s.piece(i))
}

// unread fails the test when it is read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("a piece that is here was read again")
	return 0, io.ErrUnexpectedEOF
}

// gate is a reader that tells when it is first read and then waits.
type gate struct {
	io.Reader
	reached chan struct{} // closed at the first Read
	open    chan struct{}
}

func newGate(r io.Reader) *gate {
	return &gate{r, make(chan struct{}), make(chan struct{})}
}

func (g *gate) Read(p []byte) (int, error) {
	select {
	case <-g.reached:
	default:
		close(g.reached)
	}
	<-g.open
	return g.Reader.Read(p)
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
