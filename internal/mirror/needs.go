package mirror

import (
	"context"
	"errors"
	"io"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Blobs opens content by digest. The peer's engine is the real one.
type Blobs interface {
	// Open returns a blob that is here or begins to fetch it; src is where
	// the origin has it. size is what a manifest promised, or
	// scheduler.SizeUnknown. ctx bounds Open alone: the Content lives until
	// it is closed.
	Open(ctx context.Context, d piece.Digest, size int64, src peer.Source) (Content, error)
}

// Content is one reader's hold on a blob that may still be arriving. It hands
// out verified bytes only.
type Content interface {
	// Size is the length of the whole blob, known from the start.
	Size() int64
	// Await returns once the byte at off can be read, and with it the rest
	// of its piece, for pieces are verified whole; or it says why it never
	// will be. It is asked for bytes inside the blob only.
	Await(ctx context.Context, off int64) error
	// WriteRange writes the bytes [off, off+n) to w in order and waits for
	// those that are still arriving. It returns how many it wrote; fewer
	// than n come with an error. If w is an io.ReaderFrom it is given the
	// file, so that bytes go to a TCP connection by sendfile. The mirror
	// asks for the rest of one piece at a time, after Await.
	WriteRange(ctx context.Context, w io.Writer, off, n int64) (int64, error)
	// Close gives the hold up.
	Close() error
}

// Registries reaches the registries that the operator allows. Hosts and
// repositories that it is given are well formed, and hosts in lower case.
// Where the registry refused, errors wrap a *peer.OriginError; where the
// operator does not allow the host, ErrUnknownRegistry.
type Registries interface {
	// Resolve asks the origin what a tag stands for now.
	Resolve(ctx context.Context, host, repo, tag string) (Descriptor, error)
	// Blob is the origin of a blob in a repository. It does no I/O.
	Blob(host, repo string, d piece.Digest) (peer.Source, error)
	// Manifest is the origin of a manifest in a repository. It does no I/O.
	Manifest(host, repo string, d piece.Digest) (peer.Source, error)
}

// Descriptor is what a tag stands for. Digest is always set; Size is
// scheduler.SizeUnknown and MediaType empty where the origin did not say.
type Descriptor struct {
	Digest    piece.Digest
	Size      int64
	MediaType string
}

// ErrUnknownRegistry is wrapped by Registries where a host is not one that
// the operator allows.
var ErrUnknownRegistry = errors.New("registry is not configured")
