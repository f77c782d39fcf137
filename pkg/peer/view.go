package peer

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// DownloadView is a running download as it was at one moment, for people.
type DownloadView struct {
	Digest  piece.Digest
	Size    int64 // scheduler.SizeUnknown until it is known
	Have    piece.Bitfield
	Started time.Time
	Readers int
	// Partial: only parts are wanted. Ahead: nobody has asked so far.
	Partial, Ahead bool
	Given          []journal.Given // those who gave most first
	Neighbours     []NeighbourView // the fastest first
	Reads          []ReadView
}

// NeighbourView is one neighbour of a download.
type NeighbourView struct {
	Peer scheduler.PeerID
	Zone string
	// Answered: it has said what it has.
	Answered    bool
	Have        int // pieces
	Outstanding int // requests under way
	// Rate is the bytes a second of late.
	Rate float64
	// Resting: it was busy or failed and is asked for nothing for a moment.
	Resting bool
}

// ReadView is one read from the origin. ID is the lease's, 0 on the peer's own
// account.
type ReadView struct {
	ID     scheduler.LeaseID
	Pieces piece.Range
	Whole  bool
	Bytes  int64
}

// Downloads shows what is running, the oldest first.
func (p *Peer) Downloads(ctx context.Context) ([]DownloadView, error) {
	var views []DownloadView
	for _, d := range p.all() {
		reply := make(chan DownloadView, 1)
		d.post(func() { reply <- d.view(time.Now()) })
		select {
		case v := <-reply:
			views = append(views, v)
		case <-d.stopping:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	slices.SortFunc(views, func(a, b DownloadView) int {
		return cmp.Or(a.Started.Compare(b.Started), slices.Compare(a.Digest[:], b.Digest[:]))
	})
	return views, nil
}

func (d *download) view(now time.Time) DownloadView {
	v := DownloadView{
		Digest: d.ref.Digest, Size: scheduler.SizeUnknown, Have: d.have.Clone(), Started: d.started,
		Partial: d.partial.on, Ahead: d.ahead.on.Load(), Given: d.given(),
	}
	if d.ingest != nil {
		v.Size = d.layout.Size()
	}
	_, v.Readers = d.board.slowest()
	for id, n := range d.neighbours {
		v.Neighbours = append(v.Neighbours, NeighbourView{
			Peer: id, Zone: n.peer.Zone, Answered: n.answered(), Have: n.has.Count(), Outstanding: n.outstanding,
			Rate: n.rate.now(now), Resting: now.Before(n.coolUntil),
		})
	}
	slices.SortFunc(v.Neighbours, func(a, b NeighbourView) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Peer, b.Peer))
	})
	for l := range d.leases {
		v.Reads = append(v.Reads, ReadView{ID: l.id, Pieces: l.pieces, Whole: l.whole, Bytes: l.bytes.Load()})
	}
	slices.SortFunc(v.Reads, func(a, b ReadView) int {
		return cmp.Or(cmp.Compare(a.Pieces.First, b.Pieces.First), cmp.Compare(a.ID, b.ID))
	})
	return v
}

// rate is the bytes a second of late: half of the last measure, half of all
// before.
type rate struct {
	at      time.Time // of the last measure
	average float64
}

const (
	rateWeight = 0.5
	// rateStale is how long after its last measure a rate says nothing: they
	// come with summaries.
	rateStale = scheduler.MaxSummaryEvery + time.Second
)

// measure counts what was delivered since the last measure, and begins anew.
func (n *neighbour) measure(now time.Time) {
	if took := now.Sub(n.rate.at); !n.rate.at.IsZero() && took > 0 {
		n.rate.average += rateWeight * (float64(n.delivered)/took.Seconds() - n.rate.average)
	}
	n.rate.at, n.delivered = now, 0
}

func (r *rate) now(now time.Time) float64 {
	if now.Sub(r.at) > rateStale {
		return 0
	}
	return r.average
}
