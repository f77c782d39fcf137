package access

import "container/list"

// lru remembers the values of the keys that were used last. Unlike most of
// its kind it has no lock: it is part of a Table.
type lru[K comparable, V any] struct {
	limit int
	items map[K]*list.Element // of *item[K, V]
	order list.List           // newest use first
}

type item[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, items: make(map[K]*list.Element)}
}

// put remembers v under k and may forget the key used longest ago.
func (c *lru[K, V]) put(k K, v V) {
	if e, ok := c.items[k]; ok {
		e.Value.(*item[K, V]).value = v
		c.order.MoveToFront(e)
		return
	}
	c.items[k] = c.order.PushFront(&item[K, V]{k, v})
	if c.order.Len() > c.limit {
		delete(c.items, c.order.Remove(c.order.Back()).(*item[K, V]).key)
	}
}

// get is the value under k, and counts as a use.
func (c *lru[K, V]) get(k K) (V, bool) {
	e, ok := c.items[k]
	if !ok {
		return *new(V), false
	}
	c.order.MoveToFront(e)
	return e.Value.(*item[K, V]).value, true
}

// drop forgets k.
func (c *lru[K, V]) drop(k K) {
	if e, ok := c.items[k]; ok {
		c.order.Remove(e)
		delete(c.items, k)
	}
}
