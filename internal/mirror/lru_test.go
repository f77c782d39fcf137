package mirror

import (
	"testing"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

func TestLRU(t *testing.T) {
	c := newLRU[string, int](2)
	c.put("a", 1)
	c.put("b", 2)
	c.put("a", 3) // a use, and no new entry
	c.put("c", 4) // forgets b
	if _, ok := c.get("b"); ok {
		t.Error("b was used longest ago and is remembered")
	}
	if v, ok := c.get("a"); !ok || v != 3 {
		t.Errorf("a is %d, %v", v, ok)
	}
	c.put("d", 5) // forgets c: a was read since
	if _, ok := c.get("c"); ok {
		t.Error("c was used longest ago and is remembered")
	}
	if !c.take("a") || c.take("a") {
		t.Error("a is not taken exactly once")
	}
	if len(c.items) != c.order.Len() || c.order.Len() != 1 {
		t.Errorf("%d items, %d in order", len(c.items), c.order.Len())
	}
}

func TestSizesAreBounded(t *testing.T) {
	s := newSizes()
	name := func(i int) piece.Digest { return piece.Digest{byte(i), byte(i >> 8), byte(i >> 16), 1} }
	for i := range maxSizes + 10 {
		s.learn("h", "r", promise{name(i), int64(i)})
	}
	if n := s.known.order.Len(); n != maxSizes {
		t.Errorf("%d sizes are remembered", n)
	}
	if n := s.of("h", "r", name(0)); n != scheduler.SizeUnknown {
		t.Errorf("the oldest size is still known: %d", n)
	}
	if n := s.of("h", "r", name(maxSizes+9)); n != maxSizes+9 {
		t.Errorf("the newest size is %d", n)
	}
}
