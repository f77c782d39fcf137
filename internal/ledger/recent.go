package ledger

import (
	"container/list"
	"iter"
	"time"
)

// recent is a bounded table of what happened lately: what has not been put for
// keptFor is forgotten, and of too many what was put longest ago. The zero value
// is an empty one.
type recent[K comparable, V any] struct {
	at    map[K]*list.Element
	order list.List // of entry[K, V], what was put last in front
}

type entry[K comparable, V any] struct {
	key K
	v   V
	put time.Time
}

// of is what is remembered under a key.
func (r *recent[K, V]) of(k K) (v V, ok bool) {
	e := r.at[k]
	if e == nil {
		return v, false
	}
	return valueIn[K, V](e).v, true
}

// put remembers v, and at most so many.
func (r *recent[K, V]) put(now time.Time, k K, v V, most int) {
	if r.at == nil {
		r.at = make(map[K]*list.Element)
	}
	if e := r.at[k]; e != nil {
		r.order.Remove(e)
	}
	r.at[k] = r.order.PushFront(entry[K, V]{k, v, now})
	r.forget(now)
	for len(r.at) > most {
		r.drop(r.order.Back())
	}
}

// each is what is remembered, what was put last first.
func (r *recent[K, V]) each(now time.Time) iter.Seq[V] {
	r.forget(now)
	return func(yield func(V) bool) {
		for e := r.order.Front(); e != nil; e = e.Next() {
			if !yield(valueIn[K, V](e).v) {
				return
			}
		}
	}
}

// forget drops what is too old.
func (r *recent[K, V]) forget(now time.Time) {
	for e := r.order.Back(); e != nil && now.Sub(valueIn[K, V](e).put) > keptFor; e = r.order.Back() {
		r.drop(e)
	}
}

func (r *recent[K, V]) drop(e *list.Element) {
	delete(r.at, valueIn[K, V](e).key)
	r.order.Remove(e)
}

func valueIn[K comparable, V any](e *list.Element) entry[K, V] { return e.Value.(entry[K, V]) } //nolint:errcheck,forcetypeassert // the list holds nothing else
