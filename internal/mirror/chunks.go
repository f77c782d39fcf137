package mirror

import "github.com/p2pd/p2pd/pkg/piece"

const (
	// maxChunked bounds the blobs that are remembered as fetched in chunks,
	// far more than one containerd fetches at once.
	maxChunked = 1 << 10
	// maxCuts bounds the chunks that are remembered as cut.
	maxCuts = 4 << 10
)

// chunks remembers which blobs containerd fetches in parallel chunks
// ("bytes=0-", then "bytes=16777216-" and so on, each dropped after a chunk).
// Once the first chunk was answered, an error status to a later one fails the
// whole pull. A body that is cut does not: containerd asks again from where
// it stands, this mirror first, and only then a refusal sends it to its next
// host. So a later chunk that cannot be served is cut once, and refused when
// it is asked for again. (Tried with the fetcher of containerd 2.4.2: refused at
// once, the pull fails; cut first, it ends at the origin.)
type chunks struct {
	begun *lru[piece.Digest, struct{}]
	cuts  *lru[chunk, struct{}]
}

// chunk is where in a blob a request begins.
type chunk struct {
	digest piece.Digest
	off    int64
}

func newChunks() chunks {
	return chunks{newLRU[piece.Digest, struct{}](maxChunked), newLRU[chunk, struct{}](maxCuts)}
}

// answered notes that a range of a blob was answered with 206.
func (c chunks) answered(d piece.Digest) { c.begun.put(d, struct{}{}) }

// cut reports whether a range that begins at off must be cut rather than
// refused, and counts on the caller to do so.
func (c chunks) cut(d piece.Digest, off int64) bool {
	if _, ok := c.begun.get(d); !ok || off == 0 {
		return false
	}
	at := chunk{d, off}
	if c.cuts.take(at) {
		return false
	}
	c.cuts.put(at, struct{}{})
	return true
}
