package rpc

import (
	"fmt"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// What a Summary says of neighbours is most of what a scheduler ever reads, and a
// peer has the same ones in all layers of an image. So a Summary names each once, and
// to a scheduler of the version before, which would not understand that, in each place.

func encodeSummary(e scheduler.Summary) *p2pdv1.Summary {
	s := &p2pdv1.Summary{Blobs: make([]*p2pdv1.Progress, 0, len(e.Blobs))}
	at := make(map[scheduler.PeerID]uint32)
	for _, b := range e.Blobs {
		p, rates := encodeProgress(b), b.Rates[:min(len(b.Rates), maxPeers)]
		p.RatePeers, p.RateBytes = make([]uint32, 0, len(rates)), make([]int64, 0, len(rates))
		for _, r := range rates {
			i, ok := at[r.Peer]
			if !ok {
				i = encodePiece(len(s.Peers))
				at[r.Peer], s.Peers = i, append(s.Peers, string(r.Peer))
			}
			p.RatePeers, p.RateBytes = append(p.RatePeers, i), append(p.RateBytes, r.Bytes)
		}
		s.Blobs = append(s.Blobs, p)
	}
	return s
}

// spellOut puts names where a Summary that was just encoded has places in its table.
func spellOut(s *p2pdv1.Summary) {
	if s == nil {
		return
	}
	for _, p := range s.GetBlobs() {
		for i, at := range p.GetRatePeers() {
			p.Rates = append(p.Rates, &p2pdv1.NeighbourBytes{Peer: s.GetPeers()[at], Bytes: p.RateBytes[i]})
		}
		p.RatePeers, p.RateBytes = nil, nil
	}
	s.Peers = nil
}

func decodeSummary(s *p2pdv1.Summary) (scheduler.Summary, error) {
	if err := atMost("blobs", len(s.GetBlobs()), maxBlobs); err != nil {
		return scheduler.Summary{}, err
	}
	if err := atMost("peers", len(s.GetPeers()), maxTable); err != nil {
		return scheduler.Summary{}, err
	}
	for i, p := range s.GetPeers() {
		if _, err := decodeID("peers", p); err != nil {
			_, err = decodeID(fmt.Sprintf("peers[%d]", i), p)
			return scheduler.Summary{}, err
		}
	}
	e := scheduler.Summary{Blobs: make([]scheduler.Progress, 0, len(s.GetBlobs()))}
	for i, b := range s.GetBlobs() {
		p, err := decodeProgress(b, s.GetPeers())
		if err != nil {
			return scheduler.Summary{}, in(fmt.Sprintf("blobs[%d]", i), err)
		}
		e.Blobs = append(e.Blobs, p)
	}
	return e, nil
}

// decodeRates takes what a download's neighbours delivered, of which table has names.
func decodeRates(b *p2pdv1.Progress, table []string) ([]scheduler.NeighbourBytes, error) {
	places, bytes := b.GetRatePeers(), b.GetRateBytes()
	if err := atMost("rates", len(b.GetRates())+len(places), maxPeers); err != nil {
		return nil, err
	}
	if len(places) != len(bytes) {
		return nil, bad("rate_bytes", "%d of them for %d rate_peers", len(bytes), len(places))
	}
	if len(b.GetRates())+len(places) == 0 {
		return nil, nil
	}
	rates := make([]scheduler.NeighbourBytes, 0, len(b.GetRates())+len(places))
	for i, r := range b.GetRates() {
		rate, err := decodeRate(r)
		if err != nil {
			return nil, in(fmt.Sprintf("rates[%d]", i), err)
		}
		rates = append(rates, rate)
	}
	for i, at := range places {
		if int(at) >= len(table) {
			return nil, bad("rate_peers", "place %d of a table of %d", at, len(table))
		}
		n, err := decodeBytes("rate_bytes", bytes[i])
		if err != nil {
			return nil, err
		}
		rates = append(rates, scheduler.NeighbourBytes{Peer: scheduler.PeerID(table[at]), Bytes: n})
	}
	return rates, nil
}

func decodeRate(r *p2pdv1.NeighbourBytes) (out scheduler.NeighbourBytes, err error) {
	if out.Peer, err = decodeID("peer", r.GetPeer()); err != nil {
		return out, err
	}
	out.Bytes, err = decodeBytes("bytes", r.GetBytes())
	return out, err
}
