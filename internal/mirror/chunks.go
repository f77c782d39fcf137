package mirror

import (
	"math"
	"slices"
	"sync"
	"time"
)

const (
	// maxChunked bounds the blobs that are remembered as fetched in chunks,
	// far more than one containerd fetches at once.
	maxChunked = 1 << 10
	// maxCuts bounds the ranges that are remembered as cut.
	maxCuts = 4 << 10
	// chunkedFor is how long a blob counts as fetched in chunks after its
	// last range was answered: longer than one chunk takes to be read, and
	// than the 5 min after which containerd gives up on a pull without
	// progress.
	chunkedFor = 10 * time.Minute
	// cutFor is how long a cut is remembered. Whoever resumes does so at
	// once; what is asked for later belongs to another pull.
	cutFor = time.Minute
	// chunkLimit bounds how long a chunk waits for the ones before it. It is
	// below those 5 min, too.
	chunkLimit = 4 * time.Minute
)

// chunks remembers which blobs containerd fetches in parallel chunks
// ("bytes=0-", then "bytes=16777216-" and so on, each dropped after a chunk),
// because three things harm its pull that do not harm others:
//
//   - An error status to a later chunk. A body that is cut does not: containerd
//     asks again from where it stands, this mirror first, and only then a
//     refusal sends it to its next host. So a later chunk is never refused; it
//     may be cut, and is refused when it is asked for again.
//   - A later chunk without headers for 30 s (containerd 2.3). So it gets them
//     at once, and waits for its bytes as any body does.
//   - A later chunk that is cut while an earlier one is read: the end of one
//     ends all, what was under way is thrown away and asked for again, and the
//     fourth time without a byte between is the last. So a later chunk waits
//     for the earlier ones, and only the first is cut.
//
// Methods may be called concurrently.
type chunks struct {
	begun *lru[blobKey, time.Time]
	cuts  *lru[chunk, time.Time]

	mu      sync.Mutex          // guards what follows
	running map[blobKey][]int64 // where the ranges begin that are answered now
}

// blobKey is a blob in a repository: another repository's clients are others.
type blobKey = sizeKey

// chunk is where in a blob a request begins.
type chunk struct {
	blob blobKey
	off  int64
}

func newChunks() *chunks {
	return &chunks{
		begun: newLRU[blobKey, time.Time](maxChunked), cuts: newLRU[chunk, time.Time](maxCuts),
		running: make(map[blobKey][]int64),
	}
}

// answered notes that an open-ended range of a blob is being answered with
// 206; ended must be called after it.
func (c *chunks) answered(at chunk, now time.Time) (ended func()) {
	c.begun.put(at.blob, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[at.blob] = append(c.running[at.blob], at.off)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		all := c.running[at.blob]
		all = slices.Delete(all, slices.Index(all, at.off), slices.Index(all, at.off)+1)
		if len(all) == 0 {
			delete(c.running, at.blob)
		} else {
			c.running[at.blob] = all
		}
	}
}

// isLater reports whether an open-ended range must not be refused, because it
// may be a later chunk of a blob that was begun.
func (c *chunks) isLater(at chunk, now time.Time) bool {
	if at.off == 0 {
		return false
	}
	if c.wasCut(at, now) {
		return false
	}
	begun, ok := c.begun.get(at.blob)
	return ok && now.Sub(begun) < chunkedFor
}

// cut notes that a range got no byte, and must be refused when it is asked for
// again.
func (c *chunks) cut(at chunk, now time.Time) { c.cuts.put(at, now) }

func (c *chunks) wasCut(at chunk, now time.Time) bool {
	t, ok := c.cuts.get(at)
	return ok && now.Sub(t) < cutFor
}

// asked forgets a cut, and reports whether there was one.
func (c *chunks) asked(at chunk, now time.Time) bool {
	was := c.wasCut(at, now)
	return c.cuts.take(at) && was
}

// isFirst reports whether no range of the blob is answered that begins before.
func (c *chunks) isFirst(at chunk) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := int64(math.MaxInt64)
	for _, off := range c.running[at.blob] {
		first = min(first, off)
	}
	return at.off <= first
}
