package scheduler

import (
	"maps"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/pkg/piece"
)

// faults are all that can befall the crowd, and all it may say.
func (c *crowd) faults() map[string]func(*rapid.T) {
	all := c.life()
	maps.Copy(all, c.malice())
	maps.Copy(all, c.reading())
	return all
}

// life is peers that come and go, want something and get it, and time.
func (c *crowd) life() map[string]func(*rapid.T) {
	peer, blob := rapid.SampledFrom(c.names), rapid.SampledFrom(c.order)
	return map[string]func(*rapid.T){
		"comes up": func(t *rapid.T) {
			p := peer.Draw(t, "peer")
			zone := rapid.SampledFrom([]string{"", "", "z1", "z2"}).Draw(t, "zone")
			c.step(t, PeerUp{Peer: Peer{ID: p, Zone: zone, Rack: rapid.SampledFrom([]string{"", "r1"}).Draw(t, "rack")}})
			c.announce(t, p)
		},
		"crashes": func(t *rapid.T) {
			p := peer.Draw(t, "peer")
			if rapid.IntRange(0, 3).Draw(t, "disk") == 0 {
				clear(c.disk[p])
			}
			if rapid.Bool().Draw(t, "forgets") {
				clear(c.wanted[p])
			}
			c.step(t, PeerDown{Peer: p})
		},
		"joins": func(t *rapid.T) {
			p := peer.Draw(t, "peer")
			j := Join{Peer: p}
			for _, d := range rapid.SliceOfNDistinct(blob, 1, len(c.order), rapid.ID[piece.Digest]).Draw(t, "blobs") {
				m := Membership{Digest: d, Size: SizeUnknown, Origin: rapid.SampledFrom([]string{"", "o1", "o1", "o2"}).Draw(t, "origin")}
				if old, ok := c.wanted[p][d]; rapid.Bool().Draw(t, "knows") || ok && old.Size != SizeUnknown {
					m.Size, m.Have = c.blobs[d].Size(), c.has(p, d)
				}
				if old := c.l.members[d][p]; old != "" {
					m.Origin = old // a download stays with its registry
				}
				if c.l.isUp(p) {
					c.wanted[p][d] = m
				}
				j.Blobs = append(j.Blobs, m)
			}
			c.step(t, j)
		},
		"leaves": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			delete(c.wanted[p], d)
			c.step(t, Leave{Peer: p, Digest: d})
		},
		"receives": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			first := rapid.IntRange(0, 30).Draw(t, "piece")
			c.gain(p, d, piece.Range{First: first, End: first + rapid.IntRange(1, 30).Draw(t, "pieces")})
			c.step(t, Summary{Peer: p, Blobs: []Progress{c.progress(p, d, false)}})
		},
		"stalls": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			pr := c.progress(p, d, true)
			for _, n := range rapid.SliceOfN(peer, 0, 5).Draw(t, "neighbours") {
				pr.Rates = append(pr.Rates, NeighbourBytes{Peer: n, Bytes: int64(rapid.IntRange(0, 1).Draw(t, "bytes"))})
			}
			c.step(t, Summary{Peer: p, Blobs: []Progress{pr, pr}})
		},
		"time passes": func(t *rapid.T) {
			c.now = c.now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 25, 40, 1000, 2100, 3100, 30_100, 301_000}).Draw(t, "ms")) * time.Millisecond)
			c.step(t, Tick{})
		},
	}
}

// malice is what a peer may say that is not so, and what is done about it.
func (c *crowd) malice() map[string]func(*rapid.T) {
	peer, blob := rapid.SampledFrom(c.names), rapid.SampledFrom(c.order)
	return map[string]func(*rapid.T){
		"lies": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			b := piece.NewBitfield(max(0, c.blobs[d].Count()+rapid.SampledFrom([]int{0, 0, 0, -1, 1}).Draw(t, "too many")))
			for i := range b.Len() {
				if rapid.Bool().Draw(t, "claims") {
					b.Set(i)
				}
			}
			c.knows(p, d)
			c.step(t, Summary{Peer: p, Blobs: []Progress{{Digest: d, Size: c.blobs[d].Size(), Have: b}}})
		},
		"lies about a size": func(t *rapid.T) {
			p, d := peer.Draw(t, "peer"), blob.Draw(t, "blob")
			c.knows(p, d) // what it says once it is honest
			size := rapid.SampledFrom([]int64{12345, 2 << 20, 1 << 50, -7}).Draw(t, "size")
			if rapid.Bool().Draw(t, "joins") {
				m := Membership{Digest: d, Size: size, Origin: c.l.members[d][p]}
				c.step(t, Join{Peer: p, Blobs: []Membership{m}})
				return
			}
			c.step(t, Summary{Peer: p, Blobs: []Progress{{Digest: d, Size: size, Stalled: true}}})
		},
		"blames": func(t *rapid.T) {
			c.step(t, Blame{Peer: peer.Draw(t, "peer"), Neighbour: peer.Draw(t, "neighbour"), Digest: blob.Draw(t, "blob"),
				Fault: Fault(rapid.IntRange(1, 3).Draw(t, "fault"))})
		},
		"disputes": func(t *rapid.T) {
			c.step(t, Dispute{Peer: peer.Draw(t, "peer"), Digest: blob.Draw(t, "blob"), Settled: rapid.Bool().Draw(t, "settled"), Misread: rapid.IntRange(0, 9).Draw(t, "misread") == 0, Pieces: []int{rapid.IntRange(-1, 9).Draw(t, "piece")}})
		},
		"is banned": func(t *rapid.T) {
			c.step(t, BanPeer{Peer: peer.Draw(t, "peer"), For: time.Duration(rapid.IntRange(1, 400).Draw(t, "s")) * time.Second, Reason: "so"})
		},
		"is forgiven": func(t *rapid.T) { c.step(t, UnbanPeer{Peer: peer.Draw(t, "peer")}) },
	}
}

// reading is what becomes of leases.
func (c *crowd) reading() map[string]func(*rapid.T) {
	peer, blob := rapid.SampledFrom(c.names), rapid.SampledFrom(c.order)
	return map[string]func(*rapid.T){
		"reads": func(t *rapid.T) {
			if g, ok := c.lease(t); ok {
				r := c.covers(g)
				n := rapid.IntRange(0, r.Len()).Draw(t, "pieces")
				c.gain(g.To, g.Digest, piece.Range{First: r.First, End: r.First + n})
				pr := c.progress(g.To, g.Digest, false)
				pr.Leases = []LeaseBytes{{ID: g.Lease.ID, Bytes: int64(n) << 20}}
				c.step(t, Summary{Peer: g.To, Blobs: []Progress{pr}})
			}
		},
		"ends a lease": func(t *rapid.T) {
			if g, ok := c.lease(t); ok {
				e := LeaseEnd{Peer: g.To, Digest: g.Digest, Lease: g.Lease.ID, Outcome: Outcome(rapid.IntRange(1, 4).Draw(t, "outcome"))}
				if e.Outcome == Done {
					c.gain(g.To, g.Digest, c.covers(g))
				}
				if e.Outcome == OriginBusy {
					e.RetryAfter = time.Duration(rapid.IntRange(-1, 100).Draw(t, "retry")) * time.Second
				}
				c.step(t, e)
			}
		},
		"ends another's lease": func(t *rapid.T) {
			if g, ok := c.lease(t); ok {
				c.step(t, LeaseEnd{Peer: peer.Draw(t, "peer"), Digest: blob.Draw(t, "blob"),
					Lease: g.Lease.ID + LeaseID(rapid.IntRange(0, 1).Draw(t, "off")), Outcome: Failed})
			}
		},
	}
}
