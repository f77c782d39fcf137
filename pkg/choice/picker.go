package choice

import (
	"math/rand/v2"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// WindowPieces is how far ahead of the slowest reader pieces are preferred.
// Rarest first within it loses nothing against rarest first over the whole
// blob, while strictly in order costs a multiple.
const WindowPieces = 128

// Picker chooses which piece to ask of a neighbour: the rarest of the window,
// at random among equals; past the window when the neighbour has nothing in
// it, so that no uplink idles. It is a plain value: no clock, no I/O.
//
// A neighbour in another zone is far. Of a far one only what no near one has is
// asked, and of that first what falls to this peer (Share).
type Picker struct {
	rng *rand.Rand
	// Rarity is how many neighbours have each piece.
	Rarity []uint16
	// Need are the pieces that are neither here nor on their way.
	Need piece.Bitfield
	// Share is this peer's part of what its zone fetches from others.
	Share Share

	near []uint16 // of Rarity, those that are near
	// since is when a far neighbour first had a piece, Unix time in ns; nil
	// while none is known.
	since []int64
}

// Share says which pieces a gateway brings into its zone: of Of gateways, the
// one with Index takes piece i if i mod Of is Index, and those of others after
// a while. The zero Share is everything.
type Share struct{ Index, Of int }

// NewPicker is a picker for a blob of which nothing is here and nobody has
// anything yet. It draws from rng, which stays the caller's.
func NewPicker(rng *rand.Rand, pieces int) *Picker {
	return &Picker{rng: rng, Rarity: make([]uint16, pieces), near: make([]uint16, pieces), Need: piece.FullBitfield(pieces)}
}

// Pick names a needed piece that a near neighbour has; false if there is none.
// front is the first piece that the slowest reader still waits for; it comes
// before all others, since everybody has it soon and rarest first alone would
// leave it, and the reader, to the end.
func (k *Picker) Pick(has *piece.Bitfield, front int) (int, bool) {
	return k.pick(has, front, func(int) bool { return true })
}

// PickFar is Pick for a neighbour in another zone. A turn is how long the
// gateway to which a piece falls has before the next one may fetch it.
func (k *Picker) PickFar(has *piece.Bitfield, front int, now time.Time, turn time.Duration) (int, bool) {
	return k.pick(has, front, func(i int) bool { return k.mine(i, now, turn) })
}

// mine reports whether piece i is this peer's to bring into its zone.
func (k *Picker) mine(i int, now time.Time, turn time.Duration) bool {
	if k.near[i] > 0 {
		return false
	}
	if k.Share.Of <= 1 {
		return true
	}
	rank := (k.Share.Index - i%k.Share.Of + k.Share.Of) % k.Share.Of
	return rank == 0 || k.since != nil && now.UnixNano()-k.since[i] > int64(turn)*int64(rank)
}

func (k *Picker) pick(has *piece.Bitfield, front int, may func(int) bool) (int, bool) {
	if k.Need.Has(front) && has.Has(front) && may(front) {
		return front, true
	}
	best := -1 // the choice so far
	ties := 0
	consider := func(i int) {
		switch {
		case !may(i):
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
func (k *Picker) Add(has *piece.Bitfield, far bool, now time.Time) {
	for i := range has.All() {
		k.Gain(i, far, now)
	}
}

// Remove takes the pieces of a neighbour's bitfield out of the count.
func (k *Picker) Remove(has *piece.Bitfield, far bool) {
	for i := range has.All() {
		k.Lose(i, far)
	}
}

// Gain counts one more neighbour that has piece i; Lose one less.
func (k *Picker) Gain(i int, far bool, now time.Time) {
	k.Rarity[i]++
	if !far {
		k.near[i]++
		return
	}
	if k.since == nil {
		k.since = make([]int64, len(k.Rarity))
	}
	if k.since[i] == 0 {
		k.since[i] = now.UnixNano()
	}
}

// Lose counts one neighbour less that has piece i.
func (k *Picker) Lose(i int, far bool) {
	k.Rarity[i]--
	if !far {
		k.near[i]--
	}
}
