package mirror

import (
	"strings"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// maxSizes bounds how many sizes are remembered: about a thousand images at
// 250 bytes an entry, 4 MiB in all.
const maxSizes = 16 << 10

// sizes remembers how long content is, as tags and manifests told, so that
// opening a blob costs the origin no question. A size counts only for the
// repository whose manifest gave it: whoever may push a manifest there may
// spoil pulls of that repository, but of no other.
type sizes struct{ known *lru[sizeKey, int64] }

type sizeKey struct {
	host, repo string
	digest     piece.Digest
}

func newSizes() sizes { return sizes{newLRU[sizeKey, int64](maxSizes)} }

// learn remembers what a manifest of a repository promises.
func (s sizes) learn(host, repo string, promises ...promise) {
	// Copies: a substring of a request's path would keep all of it alive.
	host, repo = strings.Clone(host), strings.Clone(repo)
	for _, p := range promises {
		s.known.put(sizeKey{host, repo, p.digest}, p.size)
	}
}

// of is the size of a digest in a repository, or scheduler.SizeUnknown.
func (s sizes) of(host, repo string, d piece.Digest) int64 {
	if n, ok := s.known.get(sizeKey{host, repo, d}); ok {
		return n
	}
	return scheduler.SizeUnknown
}
