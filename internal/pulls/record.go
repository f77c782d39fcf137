package pulls

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Record is a pull that has ended.
type Record struct {
	Of  Name
	Tag string // that the client asked for; empty: by digest
	// Began is when the client asked, Manifest how long it took until the
	// manifest was here, and Took until the last byte of the last blob.
	Began          time.Time
	Manifest, Took time.Duration
	Outcome        Outcome
	// Blobs are those that the client asked for, in the order in which it did.
	// More is how many of them were left out since, for there are too many; Held
	// is how many others the manifest lists, which the client had.
	Blobs []Arrival
	More  int
	Held  int
}

// Arrival is one blob of a Record.
type Arrival struct {
	Digest piece.Digest
	Size   int64 // in bytes, as the manifest has it
	// Asked, First and Done are how long after the pull began the blob was asked
	// for, its first byte was sent, and all of it was; Never if it was not.
	Asked, First, Done time.Duration
	// FromPeers, FromOrigin and FromCache are where the bytes came from.
	FromPeers, FromOrigin, FromCache int64
}

// Never stands for the time of what has not happened.
const Never time.Duration = -1

// record is a pull that ends.
func (p *pull) record(o Outcome) Record {
	r := Record{Of: p.of, Tag: p.tag, Began: p.began, Manifest: p.listed.Sub(p.began), Took: p.last.Sub(p.began), Outcome: o}
	for d, b := range p.blobs {
		if b.asked.IsZero() {
			r.Held++
			continue
		}
		here := b.sent.bytes() - b.peers - b.origin // what was read ahead of the client is not sent yet
		r.Blobs = append(r.Blobs, Arrival{
			Digest: d, Size: b.size, Asked: p.after(b.asked), First: p.after(b.first), Done: p.after(b.done),
			FromPeers: b.peers, FromOrigin: b.origin, FromCache: max(0, here),
		})
	}
	slices.SortFunc(r.Blobs, func(a, b Arrival) int {
		return cmp.Or(cmp.Compare(a.Asked, b.Asked), slices.Compare(a.Digest[:], b.Digest[:]))
	})
	return r
}

// after is how long after a pull's beginning something was.
func (p *pull) after(at time.Time) time.Duration {
	if at.IsZero() {
		return Never
	}
	return max(0, at.Sub(p.began))
}
