package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// image is what is remembered of the pulls of one.
type image struct {
	of      pulls.Name // as the last pull had it, and tag too
	tag     string
	sum     api.PulledImage // but for the median
	took    []int64         // milliseconds of the last tookKept pulls, in any order
	next    int             // of took, that is replaced next
	slowest []told          // the slowest first
	latest  []told          // the latest first
}

// told is a pull as a peer told it. Few are ever looked at, so that it is made
// readable only then.
type told struct {
	from scheduler.Peer
	r    *pulls.Record
}

// pulled counts a pull. mu is held.
func (l *Ledger) pulled(now time.Time, from scheduler.Peer, r *pulls.Record) {
	i, ok := l.images.of(r.Of.Digest)
	if !ok {
		i = &image{sum: api.PulledImage{Digest: r.Of.Digest.String(), First: now.UTC()}}
	}
	i.add(now, from, r)
	l.images.put(now, r.Of.Digest, i, imagesMost)
}

// add counts a pull that a peer tells of now.
func (i *image) add(now time.Time, from scheduler.Peer, r *pulls.Record) {
	s := &i.sum
	if i.of != r.Of || i.tag != r.Tag {
		i.of, i.tag, s.Image = r.Of, r.Tag, Clean(ImageName(r.Of, r.Tag), NameMost)
	}
	s.Last = now.UTC()
	s.Pulls++
	switch r.Outcome {
	case pulls.Complete:
		s.Complete++
	case pulls.Failed:
		s.Failed++
	case pulls.Partial:
		s.Partial++
	}
	for _, b := range r.Blobs {
		s.FromPeers += b.FromPeers
		s.FromOrigin += b.FromOrigin
		s.FromCache += b.FromCache
	}
	took := r.Took.Milliseconds()
	if len(i.took) < tookKept {
		i.took = append(i.took, took)
	} else {
		i.took[i.next] = took
		i.next = (i.next + 1) % tookKept
	}
	one := told{from, r}
	i.latest = slices.Insert(i.latest[:min(len(i.latest), latestKept-1)], 0, one)
	if s.Pulls == 1 || took > s.SlowestMillis {
		s.SlowestMillis, s.SlowestNode = took, nodeOf(from)
	}
	at, _ := slices.BinarySearchFunc(i.slowest, r.Took, func(t told, took time.Duration) int {
		return cmp.Or(cmp.Compare(took, t.r.Took), -1) // of equal ones the first stays first
	})
	if at < slowestKept {
		i.slowest = slices.Insert(i.slowest, at, one)
		i.slowest = i.slowest[:min(len(i.slowest), slowestKept)]
	}
}

// shown is what is told of the pulls.
func (i *image) shown() api.PulledImage {
	s := i.sum
	took := slices.Sorted(slices.Values(i.took))
	s.MedianMillis = took[len(took)/2]
	return s
}

// Images are those that were pulled, the latest first.
func (l *Ledger) Images(now time.Time) []api.PulledImage {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := []api.PulledImage{}
	for i := range l.images.each(now) {
		all = append(all, i.shown())
	}
	return all
}

// Image is one with some of its pulls, by the digest of its manifest; false if
// none is remembered.
func (l *Ledger) Image(now time.Time, digest piece.Digest) (d api.PulledImageDetail, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.images.forget(now)
	i, ok := l.images.of(digest)
	if !ok {
		return d, false
	}
	return api.PulledImageDetail{PulledImage: i.shown(), Slowest: pullsOf(i.slowest), Latest: pullsOf(i.latest)}, true
}

func pullsOf(some []told) []api.Pull {
	all := make([]api.Pull, 0, len(some))
	for _, t := range some {
		all = append(all, pullOf(t.from, t.r))
	}
	return all
}

// nodeOf is what people call a peer.
func nodeOf(p scheduler.Peer) string { return cmp.Or(p.Node, string(p.ID)) }

// pullOf is a pull as it is told.
func pullOf(from scheduler.Peer, r *pulls.Record) api.Pull {
	p := api.Pull{
		Peer: string(from.ID), Node: from.Node, Zone: from.Zone, Tag: Clean(r.Tag, NameMost),
		Began: r.Began.UTC(), ManifestMillis: r.Manifest.Milliseconds(), Millis: r.Took.Milliseconds(), Outcome: string(r.Outcome),
		Blobs: make([]api.PulledBlob, 0, len(r.Blobs)), More: r.More, Held: r.Held,
	}
	for _, b := range r.Blobs {
		p.Blobs = append(p.Blobs, api.PulledBlob{
			Digest: b.Digest.String(), Size: b.Size, AskedMillis: b.Asked.Milliseconds(), FirstMillis: millis(b.First), DoneMillis: millis(b.Done),
			FromPeers: b.FromPeers, FromOrigin: b.FromOrigin, FromCache: b.FromCache,
		})
	}
	return p
}

// millis is a time after a pull's begin; nil for pulls.Never.
func millis(d time.Duration) *int64 {
	if d < 0 {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}
