package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Store keeps blobs and the pieces of blobs that are still arriving.
// internal/store is the real one.
type Store interface {
	// Open returns a whole blob, pinned against eviction until it is
	// closed. It fails with ErrNotHeld if the blob is not here whole.
	Open(d piece.Digest) (Blob, error)
	// Has reports whether a blob is here whole. That is no use of it and
	// reads nothing.
	Has(d piece.Digest) bool
	// Ingest begins to receive a blob, or resumes where an earlier ingest
	// of it stopped: pieces that are on disk are verified again first,
	// which may take a while. There is at most one open ingest a digest;
	// a second one fails. With no room left it fails with ErrNoSpace.
	Ingest(ctx context.Context, d piece.Digest, l piece.Layout) (Ingest, error)
	// Held yields the whole blobs that are here, newest use first.
	Held() []Held
}

// Held is one whole blob in a Store.
type Held struct {
	Digest piece.Digest
	Size   int64
}

// Blob is a whole, verified blob. Methods may be called concurrently.
type Blob interface {
	Size() int64
	// Claims are the digests of the blob's pieces, proven when the blob
	// was committed. The caller must not change them.
	Claims() []piece.Digest
	// NewReader opens the content from its start. The disk store returns
	// an *os.File, so that copying to a TCP connection uses sendfile.
	NewReader() (io.ReadSeekCloser, error)
	// Check makes sure that the bytes [off, off+n) are still what the digest
	// promises; whoever gives them to anybody calls it first. It may read them,
	// the first time. If they are not, the blob is here no more, and the error
	// wraps ErrNotHeld.
	Check(ctx context.Context, off, n int64) error
	// Close unpins the blob. Readers stay usable.
	Close() error
}

// Ingest receives one blob piece by piece. Methods may be called
// concurrently.
type Ingest interface {
	// Have is a copy of the pieces that are here and verified.
	Have() piece.Bitfield
	// Claim is the digest that piece i was verified against; zero while
	// the piece is not here.
	Claim(i int) piece.Digest
	// Receive is the one way for bytes to enter the store: it reads piece i
	// from r, verifies it against want, and only then marks it. A zero
	// want takes whatever arrives as the claim (a read from the origin).
	// It returns the digest of what arrived. Wrong bytes give a
	// *piece.MismatchError. A piece that is here already is not written
	// again: r is not read and its claim is returned. A second Receive of
	// one piece waits until the first has ended. What cannot be written
	// gives ErrNoSpace or ErrDisk, and is nobody else's fault.
	Receive(ctx context.Context, i int, r io.Reader, want piece.Digest) (piece.Digest, error)
	// Forget unmarks piece i, because its claim turned out false.
	Forget(i int) error
	// NewReader opens the bytes that have arrived, as Blob.NewReader does.
	// Only pieces that are marked may be read. The reader survives Commit.
	NewReader() (io.ReadSeekCloser, error)
	// Verify checks the digest of the whole blob; all pieces must be here.
	// It touches no disk cache flush, so readers may have the end of the
	// blob as soon as it returns nil. A false blob gives a
	// *piece.MismatchError and nothing is lost: the ingest goes on.
	Verify(ctx context.Context) error
	// Commit does Verify if that has not been done, makes the blob durable
	// and moves it to the whole blobs.
	Commit(ctx context.Context) error
	// Close ends the ingest. What has arrived is kept for a later Ingest
	// unless it was committed.
	Close() error
}

// Source is one blob at its origin registry, bound to a repository that
// the client named. internal/origin is the real one.
type Source interface {
	// Host is the registry that leases are counted against.
	Host() string
	// Read opens bytes [off, off+n) of the blob; n < 0 means to the end.
	// It returns the size of the whole blob, or scheduler.SizeUnknown if
	// the origin does not tell. Failures are *OriginError where the origin
	// answered, ErrNoRange where it ignores ranges (never with off 0 and
	// n < 0).
	Read(ctx context.Context, off, n int64) (body io.ReadCloser, size int64, err error)
	// Stat asks for the size alone.
	Stat(ctx context.Context) (int64, error)
}

// OriginError is a refusal by the origin registry.
type OriginError struct {
	Status     int           // HTTP status
	RetryAfter time.Duration // with 429 and 503; 0 if the origin did not say
	Message    string        // what the origin said, shortened
}

// The statuses (RFC 9110) that decide what is done next.
const (
	statusUnauthorized    = 401
	statusForbidden       = 403
	statusNotFound        = 404
	statusRequestTimeout  = 408
	statusTooManyRequests = 429
	statusUnavailable     = 503
)

// busy says that the origin wants to be left alone for a while.
func (e *OriginError) busy() bool {
	return e.Status == statusTooManyRequests || e.Status == statusUnavailable
}

// final says that asking again will get the same answer.
func (e *OriginError) final() bool {
	return e.Status >= 400 && e.Status < 500 && e.Status != statusTooManyRequests && e.Status != statusRequestTimeout
}

// HTTPStatus is Status, for those who know of this error no more than that.
func (e *OriginError) HTTPStatus() int { return e.Status }

func (e *OriginError) Error() string {
	return fmt.Sprintf("origin answered %d: %s", e.Status, e.Message)
}

// Network reaches other peers. internal/transport is the real one.
type Network interface {
	// Send queues a message on the one long-lived stream to a peer, and
	// dials if there is none. It never blocks. Messages to one peer arrive
	// in order; if one is lost the whole link is, and Handler.Lost is told.
	Send(to scheduler.Peer, m Message)
	// Fetch asks a peer for bytes of a blob and returns once they begin to
	// arrive. It fails with ErrBusy if the peer has no upload slot to
	// spare, ErrNotHeld if it does not have them all.
	Fetch(ctx context.Context, from scheduler.Peer, d piece.Digest, off, n int64) (io.ReadCloser, error)
}

// Scheduler takes a peer's events. internal/rpc is the real one.
type Scheduler interface {
	// Send queues an event on the stream and never blocks. Events that do
	// not fit are dropped; the next Summary repeats what matters.
	Send(e scheduler.Event)
}

// Directory is where peers find each other when no scheduler introduces them.
// It is a hint as the scheduler is: who is found may be gone, or may never have
// had anything. internal/discovery is the real one.
type Directory interface {
	// Announce lets others find this peer under a key for a quarter of an
	// hour. It returns once those who will be asked for the key know, or
	// ctx ends. Announcing again renews it.
	Announce(ctx context.Context, k Key) error
	// Find names up to most of the peers under a key, without this one. Of
	// some no more than the identity and the addresses may be known.
	Find(ctx context.Context, k Key, most int) ([]scheduler.Peer, error)
}

// Tickets say which peers, by their IDs, may know and have what is here of a blob.
// *member.Tickets are the real ones.
type Tickets interface {
	// Accept takes a ticket of this peer's own from the scheduler.
	Accept(blob [piece.DigestSize]byte, ticket []byte) error
	// Own is this peer's ticket for a blob; nil if it has none that is good.
	Own(blob [piece.DigestSize]byte) []byte
	// Show takes the ticket of a peer that has proven its ID; it fails if that is
	// no good.
	Show(peer string, blob [piece.DigestSize]byte, ticket []byte) error
	// May reports whether a peer has shown a ticket that is good.
	May(peer string, blob [piece.DigestSize]byte) bool
}

// Key is what a peer can be found under: a blob that it is downloading, or,
// with Image set, an image that it holds, by the digest of its manifest.
type Key struct {
	Digest piece.Digest
	Image  bool
}

// Errors that cross the engine's edges.
var (
	// ErrNotHeld: the blob or the piece asked for is not here.
	ErrNotHeld = errors.New("not held")
	// ErrBusy: all upload slots are taken; another peer may serve sooner.
	ErrBusy = errors.New("no upload slot free")
	// ErrNoSpace: the store is full and nothing can be evicted.
	ErrNoSpace = errors.New("no space left in the store")
	// ErrDisk: the store's disk fails.
	ErrDisk = errors.New("the disk of the store fails")
	// ErrNoRange: the origin does not serve ranges of this blob.
	ErrNoRange = errors.New("origin does not serve ranges")
	// ErrClosed: the peer is shutting down.
	ErrClosed = errors.New("peer is shutting down")
)
