package choice

import (
	"maps"
	"time"
)

// What a peer that serves others goes by.
const (
	// DefaultSlots is how many pieces a peer serves at once: as many as each
	// asks for. Fewer finish sooner each, but some lines then idle while
	// others queue.
	DefaultSlots = 6
	// SlotWait is how long a child may wait for a slot before it is told
	// to ask somebody else.
	SlotWait = 500 * time.Millisecond
	// maxWaiting bounds the children in the queue. Past it the answer is
	// Busy at once: they get the piece sooner from somebody else, or ask for
	// another one.
	maxWaiting = 8
	// spreadTime is how long whoever got a piece is left to pass it on.
	spreadTime = 3 * time.Second
	// maxGifts bounds the pieces remembered for that.
	maxGifts = 4096
)

// Slots hands out a bounded number of upload slots to children C that each ask
// for a piece P. A free slot goes to the waiting child that has the fewest, so
// that one child with many requests cannot starve the others; among equals to
// the one that waits longest. Where children wait, nobody gets a piece that
// another has just had: that one has it to give, and what only we have comes
// first. So a lone seed sends each piece about once, whoever asks.
type Slots[C, P comparable] struct {
	free    int
	active  map[C]int
	waiting []*Waiter[C, P] // in order of arrival
	gifts   map[P]gift[C]
}

// Waiter is a child in the queue.
type Waiter[C, P comparable] struct {
	Child C
	Piece P
	given bool
}

// gift says who got a piece last, and when.
type gift[C comparable] struct {
	child C
	at    int64 // Unix time, ns
}

// Answer is what a child is told.
type Answer uint8

// The answers.
const (
	Go   Answer = iota + 1 // the slot is the child's until Release
	Wait                   // for Release to name it, or GiveUp
	Busy                   // ask somebody else
)

// NewSlots are n free slots.
func NewSlots[C, P comparable](n int) *Slots[C, P] {
	return &Slots[C, P]{free: n, active: make(map[C]int), gifts: make(map[P]gift[C])}
}

// Ask takes a child's request. With Wait it returns the child's place in the
// queue.
func (s *Slots[C, P]) Ask(now time.Time, child C, what P) (Answer, *Waiter[C, P]) {
	if s.free > 0 {
		s.take(now, child, what)
		return Go, nil
	}
	if len(s.waiting) >= maxWaiting || s.hadByOther(now, child, what) {
		return Busy, nil
	}
	w := &Waiter[C, P]{Child: child, Piece: what}
	s.waiting = append(s.waiting, w)
	return Wait, w
}

// GiveUp takes a waiter out of the queue. If it was named meanwhile it has a
// slot, and must Release it: false.
func (s *Slots[C, P]) GiveUp(w *Waiter[C, P]) bool {
	if w.given {
		return false
	}
	for i, x := range s.waiting {
		if x == w {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			break
		}
	}
	return true
}

// Release gives child's slot back, and on to the waiter that it returns, if
// any.
func (s *Slots[C, P]) Release(now time.Time, child C) *Waiter[C, P] {
	s.free++
	if s.active[child]--; s.active[child] == 0 {
		delete(s.active, child)
	}
	if len(s.waiting) == 0 {
		return nil
	}
	best := 0
	for i, w := range s.waiting {
		if s.prefers(now, w, s.waiting[best]) {
			best = i
		}
	}
	w := s.waiting[best]
	s.waiting = append(s.waiting[:best], s.waiting[best+1:]...)
	s.take(now, w.Child, w.Piece)
	w.given = true
	return w
}

// Idle reports whether nobody has a slot and nobody waits for one.
func (s *Slots[C, P]) Idle() bool { return len(s.active) == 0 && len(s.waiting) == 0 }

func (s *Slots[C, P]) take(now time.Time, child C, what P) {
	s.free--
	s.active[child]++
	if len(s.gifts) >= maxGifts {
		maps.DeleteFunc(s.gifts, func(_ P, g gift[C]) bool { return !g.recent(now) })
	}
	if len(s.gifts) < maxGifts {
		s.gifts[what] = gift[C]{child, now.UnixNano()}
	}
}

func (g gift[C]) recent(now time.Time) bool { return now.UnixNano()-g.at < int64(spreadTime) }

// hadByOther reports whether another child got a piece a moment ago.
func (s *Slots[C, P]) hadByOther(now time.Time, child C, what P) bool {
	g, ok := s.gifts[what]
	return ok && g.child != child && g.recent(now)
}

// prefers reports whether a deserves a slot more than b.
func (s *Slots[C, P]) prefers(now time.Time, a, b *Waiter[C, P]) bool {
	if x, y := s.hadByOther(now, a.Child, a.Piece), s.hadByOther(now, b.Child, b.Piece); x != y {
		return y
	}
	return s.active[a.Child] < s.active[b.Child]
}
