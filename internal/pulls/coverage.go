package pulls

import "slices"

// spansMost bounds the spans that are remembered of one blob. containerd reads
// a blob in some few chunks at a time; who reads more scattered parts than this
// will not read it whole.
const spansMost = 64

// coverage is which bytes of a blob were sent: spans that do not touch, in
// their order.
type coverage struct{ spans []span }

// span is the bytes [from, to).
type span struct{ from, to int64 }

// add takes in one more. Past spansMost it forgets the last one: the blob then
// never counts as whole, which is the safe way to be wrong.
func (c *coverage) add(s span) {
	if s.to <= s.from {
		return
	}
	first, _ := slices.BinarySearchFunc(c.spans, s.from, func(have span, from int64) int {
		if have.to < from {
			return -1
		}
		return 1
	})
	last := first
	for last < len(c.spans) && c.spans[last].from <= s.to {
		s.from, s.to = min(s.from, c.spans[last].from), max(s.to, c.spans[last].to)
		last++
	}
	c.spans = slices.Replace(c.spans, first, last, s)
	if len(c.spans) > spansMost {
		c.spans = c.spans[:spansMost]
	}
}

// whole reports whether all of a blob of a size was sent.
func (c *coverage) whole(size int64) bool {
	return size == 0 || len(c.spans) == 1 && c.spans[0].from == 0 && c.spans[0].to >= size
}

// bytes is how many were sent, each counted once.
func (c *coverage) bytes() (n int64) {
	for _, s := range c.spans {
		n += s.to - s.from
	}
	return n
}
