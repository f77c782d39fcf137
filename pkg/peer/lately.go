package peer

import (
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// latelyFor is how long it is remembered what came of a blob: to try again at once
	// would end the same, each time with a body that is cut.
	latelyFor = time.Minute
	// maxLately bounds the blobs that are remembered so.
	maxLately = 256
)

// lately is what has come of blobs of late. The zero value is ready; it is safe for
// concurrent use.
type lately[V any] struct {
	mu   sync.Mutex // guards what follows
	what map[piece.Digest]outcome[V]
}

type outcome[V any] struct {
	what  V
	until time.Time
}

func (l *lately[V]) add(d piece.Digest, what V, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.what == nil || len(l.what) >= maxLately {
		l.what = make(map[piece.Digest]outcome[V])
	}
	l.what[d] = outcome[V]{what, now.Add(latelyFor)}
}

// of is what has come of a blob; false if nothing has of late.
func (l *lately[V]) of(d piece.Digest, now time.Time) (V, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o, ok := l.what[d]
	if ok && now.After(o.until) {
		delete(l.what, d)
		return *new(V), false
	}
	return o.what, ok
}
