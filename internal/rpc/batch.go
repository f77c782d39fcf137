package rpc

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// A message costs both sides more than what it says, and a peer that joins an
// image of twenty layers meets the same neighbours in each. So decisions travel
// together, and an address travels once.

// batchBytes is after how many bytes a message is sent: one more decision still
// fits into maxMessage, whatever it holds.
const batchBytes = 1 << 20

// batch is a message in the making.
type batch struct {
	m     *p2pdv1.AttachResponse
	peers []scheduler.Peer // what m.Peers says
	at    map[scheduler.PeerID]int
	bytes int
	// last is the list of peers placed last, and where they are.
	last   []scheduler.Peer
	placed []uint32
}

// encodeDecisions puts decisions into as few messages as may hold them.
func encodeDecisions(ds []scheduler.Decision) []*p2pdv1.AttachResponse {
	var out []*p2pdv1.AttachResponse
	var b *batch
	for _, d := range ds {
		if b == nil {
			b = &batch{m: &p2pdv1.AttachResponse{}, at: make(map[scheduler.PeerID]int)}
			out = append(out, b.m)
		}
		if b.add(d); b.bytes >= batchBytes || len(b.m.Decisions) >= maxDecisions {
			b = nil
		}
	}
	return slices.DeleteFunc(out, func(m *p2pdv1.AttachResponse) bool { return len(m.GetDecisions()) == 0 })
}

func (b *batch) add(d scheduler.Decision) {
	if m := encodeDecision(d, b.placeAll); m != nil {
		b.m.Decisions = append(b.m.Decisions, m)
		b.bytes += proto.Size(m)
	}
}

// placeAll returns where peers are in the table. What was decided together shares
// lists, which are looked up once.
func (b *batch) placeAll(peers []scheduler.Peer) []uint32 {
	if len(peers) == 0 {
		return nil
	}
	if len(b.last) != len(peers) || &b.last[0] != &peers[0] {
		b.last, b.placed = peers, make([]uint32, 0, len(peers))
		for _, p := range peers {
			b.placed = append(b.placed, b.place(p))
		}
	}
	return b.placed
}

// place returns where p is in the table, and puts it there. One that has moved
// since it was put there is there twice.
func (b *batch) place(p scheduler.Peer) uint32 {
	i, ok := b.at[p.ID]
	if !ok || !same(b.peers[i], p) {
		i = len(b.peers)
		m := encodePeer(p)
		b.at[p.ID], b.peers, b.m.Peers = i, append(b.peers, p), append(b.m.Peers, m)
		b.bytes += proto.Size(m)
	}
	return encodePiece(i)
}

func same(a, b scheduler.Peer) bool {
	return a.Bulk == b.Bulk && a.Zone == b.Zone && a.Rack == b.Rack && slices.Equal(a.Addrs, b.Addrs)
}

// decodeDecisions takes a message's decisions for the peer to, without those
// of a kind that this wire does not know.
func decodeDecisions(to scheduler.PeerID, m *p2pdv1.AttachResponse) ([]scheduler.Decision, error) {
	if err := atMost("decisions", len(m.GetDecisions()), maxDecisions); err != nil {
		return nil, malformed("response", err)
	}
	if err := atMost("peers", len(m.GetPeers()), maxTable); err != nil {
		return nil, malformed("response", err)
	}
	table := make([]scheduler.Peer, 0, len(m.GetPeers()))
	for i, p := range m.GetPeers() {
		peer, err := decodePeer(p)
		if err != nil {
			return nil, malformed(fmt.Sprintf("peers[%d]", i), err)
		}
		table = append(table, peer)
	}
	ds := make([]scheduler.Decision, 0, len(m.GetDecisions()))
	for i, one := range m.GetDecisions() {
		d, err := decodeDecision(to, one, table)
		if err != nil {
			return nil, fmt.Errorf("decision %d: %w", i, err)
		}
		if d != nil {
			ds = append(ds, d)
		}
	}
	return ds, nil
}
