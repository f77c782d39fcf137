package mirror

import (
	"container/list"
	"sync"
)

// lru remembers the values of the keys that were used last. Methods may be
// called concurrently.
type lru[K comparable, V any] struct {
	limit int

	mu    sync.Mutex
	items map[K]*list.Element // of *lruItem[K, V]
	order *list.List          // newest use first
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

// newLRU remembers at most limit keys.
func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, items: make(map[K]*list.Element), order: list.New()}
}

// put remembers v under k and may forget the key used longest ago.
func (c *lru[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		e.Value.(*lruItem[K, V]).value = v
		c.order.MoveToFront(e)
		return
	}
	c.items[k] = c.order.PushFront(&lruItem[K, V]{k, v})
	if c.order.Len() > c.limit {
		delete(c.items, c.order.Remove(c.order.Back()).(*lruItem[K, V]).key)
	}
}

// get is the value under k, and counts as a use.
func (c *lru[K, V]) get(k K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*lruItem[K, V]).value, true
}

// take forgets k and reports whether it was there.
func (c *lru[K, V]) take(k K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if ok {
		c.order.Remove(e)
		delete(c.items, k)
	}
	return ok
}
