package origin

import (
	"container/list"
	"sync"
	"time"
)

// maxTags bounds the remembered tags, about 300 bytes each. A node is asked for
// a few hundred.
const maxTags = 4096

type tagKey struct{ host, repo, tag string }

// tags remembers what tags last stood for, for registries whose operator
// prefers that to nothing. It grants nothing: what it says is a digest, and
// whoever wants the content must be allowed to have it.
type tags struct {
	limit int

	mu    sync.Mutex
	items map[tagKey]*list.Element // of *tagged
	order *list.List               // newest use first
}

type tagged struct {
	key tagKey
	d   Descriptor
	at  time.Time
}

func newTags(limit int) *tags {
	return &tags{limit: limit, items: make(map[tagKey]*list.Element), order: list.New()}
}

func (t *tags) put(key tagKey, d Descriptor, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.items[key]; ok {
		t.order.Remove(e)
	}
	t.items[key] = t.order.PushFront(&tagged{key, d, now})
	if t.order.Len() > t.limit {
		delete(t.items, t.order.Remove(t.order.Back()).(*tagged).key)
	}
}

// get returns an answer that is at most maxAge old, with its age.
func (t *tags) get(key tagKey, maxAge time.Duration, now time.Time) (Descriptor, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.items[key]
	if !ok {
		return Descriptor{}, false
	}
	item := e.Value.(*tagged)
	age := now.Sub(item.at)
	if age > maxAge {
		return Descriptor{}, false
	}
	t.order.MoveToFront(e)
	d := item.d
	d.Stale = max(age, 1) // 0 would mean fresh
	return d, true
}
