package choice

import (
	"math/rand/v2"

	"github.com/p2pd/p2pd/pkg/piece"
)

// WindowPieces is how far ahead of the slowest reader pieces are preferred.
// Rarest first within it loses nothing against rarest first over the whole
// blob, while strictly in order costs a multiple.
const WindowPieces = 128

// Picker chooses which piece to ask of a neighbour: the rarest of the window,
// at random among equals; past the window when the neighbour has nothing in
// it, so that no uplink idles. It is a plain value: no clock, no I/O.
type Picker struct {
	rng *rand.Rand
	// Rarity is how many neighbours have each piece.
	Rarity []uint16
	// Need are the pieces that are neither here nor on their way.
	Need piece.Bitfield
}

// NewPicker is a picker for a blob of which nothing is here and nobody has
// anything yet. It draws from rng, which stays the caller's.
func NewPicker(rng *rand.Rand, pieces int) *Picker {
	return &Picker{rng: rng, Rarity: make([]uint16, pieces), Need: piece.FullBitfield(pieces)}
}

// Pick names a needed piece that has holds; false if there is none. front is
// the first piece that the slowest reader still waits for; it comes before
// all others, since everybody has it soon and rarest first alone would leave
// it, and the reader, to the end.
func (k *Picker) Pick(has *piece.Bitfield, front int) (int, bool) {
	if k.Need.Has(front) && has.Has(front) {
		return front, true
	}
	best := -1 // the choice so far
	ties := 0
	consider := func(i int) {
		switch {
		case best < 0 || k.Rarity[i] < k.Rarity[best]:
			best, ties = i, 1
		case k.Rarity[i] == k.Rarity[best]:
			if ties++; k.rng.IntN(ties) == 0 {
				best = i
			}
		}
	}
	end := front + WindowPieces
	for i := range k.Need.Common(has, front) {
		if best >= 0 && best < end && i >= end {
			return best, true
		}
		consider(i)
	}
	if best >= 0 {
		return best, true
	}
	for i := range k.Need.Common(has, 0) { // readers ahead of front left these
		if i >= front {
			break
		}
		consider(i)
	}
	return best, best >= 0
}

// Add counts the pieces of a neighbour's bitfield; Remove takes them back.
func (k *Picker) Add(has *piece.Bitfield) {
	for i := range has.All() {
		k.Rarity[i]++
	}
}

func (k *Picker) Remove(has *piece.Bitfield) {
	for i := range has.All() {
		k.Rarity[i]--
	}
}
