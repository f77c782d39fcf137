package peer

import (
	"math/rand/v2"

	"github.com/p2pd/p2pd/pkg/piece"
)

// WindowPieces is how far ahead of the slowest reader pieces are preferred.
// Rarest first within 16 to 32 pieces loses nothing against rarest first over
// the whole blob, while strictly in order costs a multiple.
const WindowPieces = 32

// picker chooses which piece to ask of a neighbour: the rarest of the window,
// at random among equals; past the window when the neighbour has nothing in
// it, so that no uplink idles. It is a plain value: no clock, no I/O.
type picker struct {
	rng *rand.Rand
	// rarity is how many neighbours have each piece.
	rarity []uint16
	// need are the pieces that are neither here nor on their way.
	need piece.Bitfield
}

func newPicker(rng *rand.Rand, pieces int) *picker {
	return &picker{rng: rng, rarity: make([]uint16, pieces), need: piece.FullBitfield(pieces)}
}

// pick names a needed piece that has holds; false if there is none. front is
// the first piece that the slowest reader still waits for; it comes before
// all others, since everybody has it soon and rarest first alone would leave
// it, and the reader, to the end.
func (k *picker) pick(has *piece.Bitfield, front int) (int, bool) {
	if k.need.Has(front) && has.Has(front) {
		return front, true
	}
	best := -1 // the choice so far
	ties := 0
	consider := func(i int) {
		switch {
		case best < 0 || k.rarity[i] < k.rarity[best]:
			best, ties = i, 1
		case k.rarity[i] == k.rarity[best]:
			if ties++; k.rng.IntN(ties) == 0 {
				best = i
			}
		}
	}
	end := front + WindowPieces
	for i := range k.need.From(front) {
		if best >= 0 && best < end && i >= end {
			return best, true
		}
		if has.Has(i) {
			consider(i)
		}
	}
	if best >= 0 {
		return best, true
	}
	for i := range k.need.From(0) { // readers ahead of front left these
		if i >= front {
			break
		}
		if has.Has(i) {
			consider(i)
		}
	}
	return best, best >= 0
}

// add counts the pieces of a neighbour's bitfield; remove takes them back.
func (k *picker) add(has *piece.Bitfield) {
	for i := range has.All() {
		k.rarity[i]++
	}
}

func (k *picker) remove(has *piece.Bitfield) {
	for i := range has.All() {
		k.rarity[i]--
	}
}
