package scheduler

import (
	"cmp"
	"slices"
)

// PeersOfZone is the attached peers of one zone; Zone is empty for those who told
// none.
type PeersOfZone struct {
	Zone    string
	Peers   int
	Traffic Traffic // of those peers, since they attached
}

// ViewZones is the zones of the attached peers, by name; zonesMost at most.
func (s *Scheduler) ViewZones() []PeersOfZone {
	of := make(map[string]*PeersOfZone)
	for _, n := range s.peers {
		z := of[n.peer.Zone]
		if z == nil {
			if len(of) >= zonesMost {
				continue
			}
			z = &PeersOfZone{Zone: n.peer.Zone}
			of[n.peer.Zone] = z
		}
		z.Peers++
		z.Traffic.add(n.traffic)
	}
	zones := make([]PeersOfZone, 0, len(of))
	for _, z := range of {
		zones = append(zones, *z)
	}
	slices.SortFunc(zones, func(a, b PeersOfZone) int { return cmp.Compare(a.Zone, b.Zone) })
	return zones
}
