package peer

import (
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// latelyFor is how long it is remembered how a download ended: to begin it again
	// would end the same, each time with a body that is cut.
	latelyFor = time.Minute
	// maxLately bounds the blobs that are remembered so.
	maxLately = 256
)

// lately are blobs whose download has ended in some way of late. The zero value is
// ready; it is safe for concurrent use.
type lately struct {
	mu    sync.Mutex // guards what follows
	until map[piece.Digest]time.Time
}

func (l *lately) add(d piece.Digest, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil || len(l.until) >= maxLately {
		l.until = make(map[piece.Digest]time.Time)
	}
	l.until[d] = now.Add(latelyFor)
}

func (l *lately) is(d piece.Digest, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.until[d]
	if ok && now.After(t) {
		delete(l.until, d)
		return false
	}
	return ok
}
