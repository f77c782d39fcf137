package scheduler

import (
	"fmt"
	"slices"
	"unique"
)

// Bytes that cross from zone to zone are slow, and money. So members are linked
// within their zone, and only a few of each zone, its gateways, with those of
// others. What no near neighbour has, each gateway fetches of its share of the
// pieces: a blob crosses into a zone about once, and spreads inside.
const (
	// gatesPerZone is how many gateways a zone has in a swarm. Fewer would be
	// slow where one of them is; more cross a piece twice more often.
	gatesPerZone = 6
	// gatesMet is how many gateways of each other zone a gateway knows, and
	// farMost how many there are over all.
	gatesMet = 3
	farMost  = 8
)

// Share is a gateway's part of what its zone fetches from others: of the pieces
// i those with i mod Of = Index. The zero Share is no gateway's.
type Share struct{ Index, Of int }

// gates are the gateways of one zone.
type gates struct {
	zone    string
	members []*member
}

func (sw *swarm) gatesOf(zone string) *gates {
	for _, g := range sw.gates {
		if g.zone == zone {
			return g
		}
	}
	return nil
}

// noZone is that of members whose zone is not known.
var noZone = unique.Make("")

// far reports whether two members are known to be in different zones.
func (m *member) far(o *member) bool {
	return m.zone != o.zone && m.zone != noZone && o.zone != noZone
}

// pool is among whom a member's neighbours are drawn.
func (m *member) pool() []*member {
	if z := m.node.peer.Zone; z != "" {
		return m.swarm.near[place{z, ""}]
	}
	return m.swarm.order
}

// gate makes a member one of its zone's gateways, if that has room.
func (s *Scheduler) gate(m *member) {
	zone := m.node.peer.Zone
	if zone == "" || m.gate || m.keepsApart() {
		return
	}
	g := m.swarm.gatesOf(zone)
	if g == nil {
		g = &gates{zone: zone}
		m.swarm.gates = append(m.swarm.gates, g)
	}
	if len(g.members) >= gatesPerZone {
		return
	}
	m.gate = true
	s.link(m, g.members, gatesPerZone, "a gateway of its zone")
	g.members = append(g.members, m)
	s.bridge(m)
	s.reshare(g)
}

// bridge links a gateway with those of other zones.
func (s *Scheduler) bridge(m *member) {
	met := 0
	for _, o := range m.edges {
		if m.far(o) {
			met++
		}
	}
	zones := slices.Clone(m.swarm.gates)
	s.rng.Shuffle(len(zones), func(i, j int) { zones[i], zones[j] = zones[j], zones[i] })
	for _, g := range zones {
		if g.zone != m.node.peer.Zone {
			met += s.link(m, g.members, min(gatesMet, farMost-met), "a gateway to zone "+g.zone)
		}
	}
}

// reshare tells a zone's gateways their parts.
func (s *Scheduler) reshare(g *gates) {
	for i, m := range g.members {
		if m.complete {
			continue
		}
		s.introduce(m, nil, fmt.Sprintf("it is gateway %d of %d of zone %s", i+1, len(g.members), g.zone))
	}
}

// ungate ends a member's being a gateway, and makes another one.
func (s *Scheduler) ungate(m *member) {
	g := m.swarm.gatesOf(m.node.peer.Zone)
	if !m.gate || g == nil {
		return
	}
	m.gate = false
	g.members = without(g.members, m)
	for _, o := range sample(s.rng, m.pool(), sampleFactor) {
		if o != m && !o.gate {
			s.gate(o)
			break
		}
	}
	if len(g.members) == 0 {
		m.swarm.gates = slices.DeleteFunc(m.swarm.gates, func(x *gates) bool { return x == g })
		return
	}
	s.reshare(g)
}

// share is m's part, if it is a gateway.
func (m *member) share() Share {
	if !m.gate {
		return Share{}
	}
	g := m.swarm.gatesOf(m.node.peer.Zone)
	return Share{Index: slices.Index(g.members, m), Of: len(g.members)}
}
