package scheduler

import (
	"math/rand/v2"
	"slices"
)

// sampleFactor is how many candidates are looked at for each neighbour wanted.
// Sampling keeps a join cheap in a swarm of ten thousand.
const sampleFactor = 4

// Loom is what neighbours are chosen from, and how many. A candidate may stand
// in several of its lists; T is however the caller knows them.
type Loom[T comparable] struct {
	// Known are neighbours in other swarms: to have the same ones for all
	// layers of an image takes fewer links and fewer messages.
	Known []T
	// Near are those in the same rack, then those in the same zone; All is
	// everybody who may be a neighbour at all; Seeds have the whole blob.
	Near       [][]T
	Seeds, All []T
	// IsSeed tells a seed in any list; Fit refuses who may not be chosen.
	IsSeed, Fit func(T) bool
	// Neighbours is how many to choose in all, Topology how many of them
	// because they are near.
	Neighbours, Topology int
	// Picks is memory for the choice, of length 0; nil takes new.
	Picks []Pick[T]
}

// Why is what a neighbour was chosen for.
type Why uint8

// The reasons.
const (
	Known  Why = iota // a neighbour in another swarm
	Near              // in the same rack or zone
	Seed              // it has the whole blob
	Random            // nothing else
	numWhys
)

// String is the reason in words.
func (w Why) String() string {
	return [...]string{"known from another swarm", "near it", "a seed", "at random"}[w]
}

// Pick is one neighbour chosen, and why.
type Pick[T comparable] struct {
	Who T
	Why Why
}

// Weave chooses neighbours for one peer: those that it has already; a few near
// ones, so that bytes cross a zone once and then spread inside; a seed, unless one is among them; the
// rest at random, which is what keeps the whole mesh short. The scheduler
// introduces members by it, and a peer without a scheduler introduces itself.
func Weave[T comparable](rng *rand.Rand, l Loom[T]) []Pick[T] {
	picks := slices.Grow(l.Picks, max(l.Neighbours, 0))
	fit := func(c T) bool {
		return !slices.ContainsFunc(picks, func(p Pick[T]) bool { return p.Who == c }) && l.Fit(c)
	}
	most := l.Neighbours
	if len(l.Seeds) > 0 && !slices.ContainsFunc(l.Known, l.IsSeed) {
		most-- // room for one
	}
	for _, c := range l.Known { // in their order: the same ones in the same order cost least to tell
		if len(picks) < most && fit(c) {
			picks = append(picks, Pick[T]{c, Known})
		}
	}
	take := func(from []T, n int, why Why) {
		for _, c := range draw(rng, from, min(n, l.Neighbours-len(picks)), fit) {
			picks = append(picks, Pick[T]{c, why})
		}
	}
	for _, near := range l.Near {
		take(near, l.Topology-len(picks), Near)
	}
	if len(l.Seeds) > 0 && !slices.ContainsFunc(picks, func(p Pick[T]) bool { return l.IsSeed(p.Who) }) {
		take(l.Seeds, 1, Seed)
	}
	take(l.All, l.Neighbours, Random)
	return picks
}

// draw returns up to n of candidates that fit, at random. (Were those preferred
// that have few edges, everybody would be linked to those who came just before:
// a mesh as long as the queue at the door.)
func draw[T any](rng *rand.Rand, candidates []T, n int, fit func(T) bool) []T {
	if n <= 0 {
		return nil
	}
	drawn := make([]T, 0, n)
	for _, c := range sample(rng, candidates, n*sampleFactor) {
		if len(drawn) == n {
			break
		}
		if fit(c) {
			drawn = append(drawn, c)
		}
	}
	return drawn
}

// sample returns up to n of ms in random order, all of them if there are few.
func sample[T any](rng *rand.Rand, ms []T, n int) []T {
	if len(ms) <= 2*n {
		out := slices.Clone(ms)
		rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		return out
	}
	out := make([]T, 0, n)
	seen := make(map[int]bool, n)
	for len(out) < n {
		if i := rng.IntN(len(ms)); !seen[i] {
			seen[i] = true
			out = append(out, ms[i])
		}
	}
	return out
}
