package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
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
	// Given is how many bytes of the blob have come since its download began,
	// from other peers and from the origin. Both are 0 if it was here. It may
	// be asked after Close.
	Given() (peers, origin int64)
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

// Access decides who may have what. Errors wrap a *RefusedError where the origin
// refuses, ErrUnknownRegistry as with Registries; any other means that there
// is no telling now.
type Access interface {
	// Resolve asks the origin, in the client's name, what a tag stands for
	// now, and whether the client may have it.
	Resolve(ctx context.Context, a Asked, tag string) (Resolved, error)
	// Admit says whether the client may have a Manifest or a Blob. It looks
	// at nothing that is held here.
	Admit(ctx context.Context, a Asked, k Kind, d piece.Digest) (Grant, error)
	// Link takes what a manifest lists that was read in a repository: who
	// may have the manifest may have that. It does no I/O.
	Link(host, repo string, manifest piece.Digest, children []piece.Digest)
}

// Asked is a client that asks for content of a repository. Authorization are
// its headers of that name.
type Asked struct {
	Host, Repo    string
	Authorization []secret.Value
}

// Grant is the right to content of a repository. Its sources read in the name
// of whoever has the right, and do no I/O until they are read.
type Grant interface {
	Blob(d piece.Digest) (peer.Source, error)
	Manifest(d piece.Digest) (peer.Source, error)
}

// Resolved is what a tag stands for, with the right to it. Stale is how old
// the answer is, where the origin was down and the operator has its last one
// repeated; else 0.
type Resolved struct {
	Descriptor
	Grant Grant
	Stale time.Duration
}

// RefusedError is the origin's no, as the client may be told it.
type RefusedError struct {
	Status    int    // 400..499
	Challenge string // the WWW-Authenticate header to send; empty for none
	Body      []byte // the origin's JSON; may be empty
	Reason    string
}

func (r *RefusedError) Error() string {
	return fmt.Sprintf("the origin refuses (%d): %s", r.Status, r.Reason)
}

// ErrUnknownRegistry is wrapped by Registries where a host is not one that
// the operator allows.
var ErrUnknownRegistry = errors.New("registry is not configured")
