package scheduler

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Whatever the candidates: nobody twice, nobody who does not fit, no more than
// asked for, near ones first, and a seed if one fits.
func TestWeave(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := rng.IntN(200)
		var all, rack, zone, seeds, known []int
		refused := func(c int) bool { return c%7 == int(seed%7) }
		isSeed := func(c int) bool { return c%11 == 0 }
		fitNear, fitAll, fitSeed := 0, 0, false
		for c := range n {
			all = append(all, c)
			if seed%3 == 0 && c%13 == 0 {
				known = append(known, c)
			}
			if c%20 == 0 {
				rack = append(rack, c)
			}
			if c%5 == 0 {
				zone = append(zone, c)
			}
			if isSeed(c) {
				seeds = append(seeds, c)
				fitSeed = fitSeed || !refused(c)
			}
			if !refused(c) {
				fitAll++
				if c%5 == 0 {
					fitNear++
				}
			}
		}
		picks := Weave(rng, Loom[int]{
			Known: known, Near: [][]int{rack, zone}, Seeds: seeds, All: all, IsSeed: isSeed,
			Fit: func(c int) bool { return !refused(c) }, Neighbours: 16, Topology: 3,
		})
		near, seen, hasSeed := 0, map[int]bool{}, false
		for _, p := range picks {
			if refused(p.Who) || seen[p.Who] {
				t.Fatalf("seed %d: %d was picked twice or does not fit: %v", seed, p.Who, picks)
			}
			seen[p.Who], hasSeed = true, hasSeed || isSeed(p.Who)
			if p.Who%5 == 0 {
				near++
			}
		}
		if len(picks) > 16 || len(picks) < min(fitAll, 16) {
			t.Fatalf("seed %d: %d picks of %d that fit", seed, len(picks), fitAll)
		}
		if known == nil && near < min(3, fitNear) {
			t.Fatalf("seed %d: %d near of %d that fit", seed, near, fitNear)
		}
		for _, k := range known {
			if !refused(k) && !seen[k] && len(known) < 16 {
				t.Fatalf("seed %d: %d is known and was left: %v", seed, k, picks)
			}
		}
		if fitSeed && !hasSeed {
			t.Fatalf("seed %d: no seed among %v", seed, picks)
		}
		if i := slices.IndexFunc(picks, func(p Pick[int]) bool { return p.Why == Random }); i >= 0 && known == nil && fitNear >= 3 && i < 3 {
			t.Fatalf("seed %d: random before near: %v", seed, picks)
		}
	}
}
