package daemon

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/mirror"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// shelfFirst is when what is held is first looked through for manifests:
	// once containerd's content has been verified, mostly. shelfEvery is how
	// often it is looked for new ones that no client has read, as after an
	// import.
	shelfFirst = 15 * time.Second
	shelfEvery = 5 * time.Minute
	// maxShelf bounds how much is opened in one look, of the blobs used last.
	maxShelf = 1024
	// manifestMost is how long a manifest is, generously: one of 127 layers
	// has 20 KiB. Longer ones are announced once a client reads them.
	manifestMost = 256 << 10
)

// shelf looks through what is held for manifests, so that after a restart the
// images are found without a scheduler, though no client has read them since.
type shelf struct {
	held  peer.Store
	learn func(manifest piece.Digest, children []piece.Digest)
	seen  map[piece.Digest]bool // looked at, of what was held last
}

// run looks until ctx ends.
func (s *shelf) run(ctx context.Context) error {
	for wait := time.NewTimer(shelfFirst); ; wait.Reset(shelfEvery) {
		select {
		case <-wait.C:
			s.look(ctx)
		case <-ctx.Done():
			wait.Stop()
			return nil
		}
	}
}

// look reads what is new. What was used last is learned last.
func (s *shelf) look(ctx context.Context) {
	held := slices.DeleteFunc(s.held.Held(), func(h peer.Held) bool { return h.Size > manifestMost })
	held = held[:min(len(held), maxShelf)]
	seen := make(map[piece.Digest]bool, len(held))
	for _, h := range slices.Backward(held) {
		if ctx.Err() != nil {
			return
		}
		seen[h.Digest] = true
		if s.seen[h.Digest] {
			continue
		}
		if children, err := s.children(h.Digest); err == nil && len(children) > 0 {
			s.learn(h.Digest, children)
		} // else it is no manifest: most small blobs are not
	}
	s.seen = seen
}

// children are what a blob lists, if it is a manifest.
func (s *shelf) children(d piece.Digest) ([]piece.Digest, error) {
	blob, err := s.held.Open(d)
	if err != nil {
		return nil, err
	}
	defer blob.Close() //nolint:errcheck // only unpins
	r, err := blob.NewReader()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(r, manifestMost))
	if err != nil {
		return nil, err
	}
	return mirror.Children(b)
}
