package web

import (
	"iter"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// The scheduler's views in the words of the interface.

func swarm(v *scheduler.SwarmView) api.Swarm {
	sw := api.Swarm{
		Digest: v.Digest.String(), Size: v.Size, PieceSize: v.PieceSize, Pieces: v.Pieces, Members: v.Members, Seeds: v.Seeds,
		Leases: v.Leases, FreePieces: v.Free, Rangeless: v.Rangeless, Since: v.Born.UTC(), Bytes: received(v.Traffic),
	}
	if all := int64(v.Pieces) * int64(v.Members); all > 0 {
		sw.Progress = float64(v.Held) / float64(all)
	}
	return sw
}

func received(t scheduler.Traffic) api.Bytes {
	return api.Bytes{Peers: t.FromPeers, Origin: t.FromOrigin}
}

func flows(t scheduler.Traffic) api.Flows {
	return api.Flows{FromZone: t.FromPeers - t.FromFar, FromOtherZones: t.FromFar, FromOrigin: t.FromOrigin}
}

func swarmDetail(v *scheduler.SwarmDetail) api.SwarmDetail {
	d := api.SwarmDetail{
		Meta: api.Of("Swarm"), Swarm: swarm(&v.SwarmView), LeasedRanges: ranges(&v.Leased),
		LeasesOut: make([]api.Lease, 0, len(v.Leases)), Zones: make([]api.SwarmZone, 0, len(v.Zones)),
		MemberItems: make([]api.Membership, 0, len(v.Members)),
	}
	for _, l := range v.Leases {
		d.LeasesOut = append(d.LeasesOut, api.Lease{
			ID: uint64(l.ID), Holder: string(l.Holder), Registry: l.Host, Whole: l.Whole, Bytes: l.Bytes,
			Ranges: api.Ranges(one(l.Pieces)), Granted: l.Granted.UTC(), Moved: l.Moved.UTC(),
		})
	}
	for _, z := range v.Zones {
		d.Zones = append(d.Zones, api.SwarmZone{Zone: z.Zone, Members: z.Members, Seeds: z.Seeds, Gateways: z.Gateways, Flows: flows(z.Traffic)})
	}
	for i := range v.Members {
		d.MemberItems = append(d.MemberItems, member(&v.Members[i], v.Pieces))
	}
	if v.More {
		d.Next = d.MemberItems[len(d.MemberItems)-1].Peer
	}
	return d
}

func member(v *scheduler.MemberView, pieces int) api.Membership {
	return api.Membership{
		Peer: string(v.Peer), Node: v.Node, Zone: v.Zone, Rack: v.Rack, Pieces: pieces, Have: v.Have.Count(), Ranges: ranges(&v.Have),
		Seed: v.Complete, Gateway: v.Gateway, Doubted: v.Doubted, Stalled: v.Stalled, Leases: v.Leases,
		Neighbours: texts(v.Neighbours), Bytes: received(v.Traffic), Sent: v.Traffic.ToPeers,
	}
}

func peer(v *scheduler.PeerView) api.Peer {
	p := api.Peer{
		ID: string(v.Peer.ID), Node: v.Peer.Node, State: api.PeerOK, Addresses: v.Peer.Addrs, Bulk: v.Peer.Bulk, Zone: v.Peer.Zone, Rack: v.Peer.Rack,
		Swarms: v.Swarms, Missing: v.Missing, Leases: v.Leases, Bytes: received(v.Traffic), Sent: v.Traffic.ToPeers,
	}
	if v.Attached {
		since := v.Since.UTC()
		p.Since = &since
	}
	if v.Accusers > 0 {
		p.State, p.Suspect = api.PeerSuspect, &api.Suspicion{Accusers: v.Accusers, Until: v.DoubtedUntil.UTC()}
	}
	if v.Ban != nil {
		p.State, p.Ban = api.PeerBanned, &api.Ban{Until: v.Ban.Until.UTC(), Reason: v.Ban.Reason}
	}
	return p
}

func peerDetail(v *scheduler.PeerDetail) api.PeerDetail {
	d := api.PeerDetail{
		Meta: api.Of("Peer"), Peer: peer(&v.PeerView), AccusedBy: texts(v.AccusedBy), More: v.More,
		Memberships: make([]api.Membership, 0, len(v.Memberships)),
	}
	for _, m := range v.Memberships {
		d.Memberships = append(d.Memberships, api.Membership{
			Digest: m.Digest.String(), Size: m.Size, Pieces: m.Pieces, Have: m.Have, Seed: m.Pieces > 0 && m.Have == m.Pieces,
			Leases: m.Leases, Bytes: received(m.Traffic), Sent: m.Traffic.ToPeers,
		})
	}
	return d
}

func registries(hosts []scheduler.HostView) []api.Registry {
	rs := make([]api.Registry, 0, len(hosts))
	for _, h := range hosts {
		r := api.Registry{Host: h.Host, Leases: h.Leases, Bytes: h.Bytes, LeaseBytesPerSecond: int64(h.Rate)}
		if !h.AwayUntil.IsZero() {
			until := h.AwayUntil.UTC()
			r.AwayUntil = &until
		}
		rs = append(rs, r)
	}
	return rs
}

func zones(views []scheduler.PeersOfZone) []api.Zone {
	zs := make([]api.Zone, 0, len(views))
	for _, z := range views {
		zs = append(zs, api.Zone{Zone: z.Zone, Peers: z.Peers, Flows: flows(z.Traffic)})
	}
	return zs
}

func texts(ids []scheduler.PeerID) []string {
	ss := make([]string, 0, len(ids))
	for _, id := range ids {
		ss = append(ss, string(id))
	}
	return ss
}

func ranges(b *piece.Bitfield) string {
	return api.Ranges(func(yield func(int, int) bool) {
		for r := range b.Ranges() {
			if !yield(r.First, r.End) {
				return
			}
		}
	})
}

func one(r piece.Range) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) { yield(r.First, r.End) }
}
