package store

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/pkg/piece"
)

// TestIndexKeepsItsPromises evicts, pins and adds at random and checks after
// each step what eviction must hold to.
func TestIndexKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex(1000)
		next := 0
		pick := func() *entry {
			if len(x.entries) == 0 {
				return nil
			}
			n := rapid.IntRange(0, next-1).Draw(t, "entry")
			return x.entries[piece.Sum([]byte{byte(n)})]
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				size := rapid.Int64Range(0, 600).Draw(t, "size")
				shortage := max(0, rapid.Int64Range(-500, 500).Draw(t, "shortage"))
				if !makeRoom(t, &x, size, shortage) {
					continue
				}
				x.add(&entry{digest: piece.Sum([]byte{byte(next)}), size: size, whole: rapid.Bool().Draw(t, "whole")})
				next++
			case 2:
				if e := pick(); e != nil {
					e.pins = 1 - e.pins
				}
			case 3:
				if e := pick(); e != nil && !e.whole {
					x.promote(e)
				} else if e != nil {
					x.touch(e)
				}
			case 4:
				if e := pick(); e != nil {
					e.spare = !e.spare
				}
			}
			checkTotals(t, &x)
		}
	})
}

func makeRoom(t *rapid.T, x *index, size, shortage int64) bool {
	used, loose := x.whole.bytes+x.partial.bytes, int64(0)
	for _, e := range x.entries {
		if e.pins == 0 {
			loose += e.size
		}
	}
	can := used-loose+size <= x.capacity && loose >= shortage
	victims, ok := x.victims(size, shortage)
	if ok != can {
		t.Fatalf("victims for %d bytes and %d short: %v, want %v", size, shortage, ok, can)
	}
	var freed int64
	for n, v := range victims {
		if v.pins > 0 {
			t.Fatal("a pinned blob has to go")
		}
		if enough := used-freed+size <= x.capacity && freed >= shortage; enough {
			t.Fatalf("victim %d of %d was not needed", n, len(victims))
		}
		freed += v.size
		x.remove(v)
	}
	for _, e := range x.entries { // whoever stays had the better right
		for _, v := range victims {
			if e.pins == 0 && (e.spare && !v.spare || e.spare == v.spare &&
				(!e.whole && v.whole || e.whole == v.whole && e.lastUse < v.lastUse)) {
				t.Fatal("a blob stays that should have gone before another")
			}
		}
	}
	return ok
}

func checkTotals(t *rapid.T, x *index) {
	var whole, partial total
	for _, e := range x.entries {
		if e.whole {
			whole = total{whole.bytes + e.size, whole.count + 1}
		} else {
			partial = total{partial.bytes + e.size, partial.count + 1}
		}
	}
	if whole != x.whole || partial != x.partial {
		t.Fatalf("totals are %v and %v, want %v and %v", x.whole, x.partial, whole, partial)
	}
	if whole.bytes+partial.bytes > x.capacity {
		t.Fatalf("%d bytes in %d", whole.bytes+partial.bytes, x.capacity)
	}
	held := x.held()
	for i, h := range held {
		if i > 0 && x.entries[held[i-1].Digest].lastUse < x.entries[h.Digest].lastUse {
			t.Fatal("held is not in order of use")
		}
	}
	if len(held) != whole.count {
		t.Fatalf("%d held, want %d", len(held), whole.count)
	}
}

func TestIndexBoundsCount(t *testing.T) {
	x := newIndex(1 << 40)
	for i := range maxEntries {
		x.entries[piece.Digest{byte(i), byte(i >> 8), byte(i >> 16)}] = &entry{pins: 1}
	}
	if _, ok := x.victims(1, 0); ok {
		t.Fatal("one entry too many fits")
	}
	loose := x.entries[piece.Digest{7}]
	loose.pins = 0
	if v, ok := x.victims(1, 0); !ok || len(v) != 1 || v[0] != loose {
		t.Fatalf("victims are %v, %v", v, ok)
	}
}
