package preheat

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"path"
	"slices"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// selected are the peers that a job may choose from.
func (s *Spec) selected(peers []scheduler.Peer) []scheduler.Peer {
	return slices.DeleteFunc(slices.Clone(peers), func(p scheduler.Peer) bool {
		n := newNode(p)
		named := len(s.Nodes) == 0 || slices.ContainsFunc(s.Nodes, func(name string) bool {
			like, _ := path.Match(name, n.Name) //nolint:errcheck // specOf refuses what is no pattern
			return like || name == n.Name || name == n.Address || name == string(n.Peer)
		})
		return !named || !s.Labelled.has(n.Name) || len(s.Zones) > 0 && !slices.Contains(s.Zones, p.Zone)
	})
}

// platforms are those of peers, without repetition.
func platforms(peers []scheduler.Peer) (all []string) {
	for _, p := range peers {
		all = append(all, cmp.Or(p.Platform, usualPlatform))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// cannot reports whether a peer is not able to do what a job wants.
func (s *Spec) cannot(p scheduler.Peer) bool { return s.Into != "" && !p.Unpacks }

// targets are the peers of those selected that get an image: the same ones each
// time, as long as they are there, so that a second job of an image finds it where
// the first one brought it. A peer for which the image has nothing is none, and one
// that cannot do it is none unless all are wanted.
func (s *Spec) targets(peers []scheduler.Peer, d piece.Digest, variants []Variant) []scheduler.Peer {
	peers = slices.DeleteFunc(s.selected(peers), func(p scheduler.Peer) bool {
		if s.Scope != api.PreheatAll && s.cannot(p) {
			return true
		}
		return !slices.ContainsFunc(variants, func(v Variant) bool { return v.fits(s.Platforms, p.Platform) })
	})
	zones := make(map[string][]scheduler.Peer)
	for _, p := range peers {
		zones[p.Zone] = append(zones[p.Zone], p)
	}
	for _, z := range zones {
		slices.SortFunc(z, func(a, b scheduler.Peer) int {
			return cmp.Or(cmp.Compare(bid(d, b.ID), bid(d, a.ID)), cmp.Compare(a.ID, b.ID))
		})
	}
	most := len(peers)
	switch s.Scope {
	case api.PreheatZone:
		most = len(zones)
	case api.PreheatSome:
		if most = s.Count; s.Percentage > 0 {
			most = (len(peers)*s.Percentage + 99) / 100
		}
	}
	return inTurn(zones, most)
}

// inTurn takes one of each zone, in the order of their names, then the next of
// each, until there are so many.
func inTurn(zones map[string][]scheduler.Peer, most int) (chosen []scheduler.Peer) {
	var names []string
	longest := 0
	for name, z := range zones {
		names, longest = append(names, name), max(longest, len(z))
	}
	slices.Sort(names)
	for i := range longest {
		for _, name := range names {
			if z := zones[name]; i < len(z) && len(chosen) < most {
				chosen = append(chosen, z[i])
			}
		}
	}
	return chosen
}

// bid is how much a peer wants an image (rendezvous hashing, as scheduler.Owner).
func bid(d piece.Digest, p scheduler.PeerID) uint64 {
	sum := sha256.Sum256(append(d[:], p...))
	return binary.BigEndian.Uint64(sum[:])
}
