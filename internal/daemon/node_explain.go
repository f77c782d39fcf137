package daemon

import (
	"context"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/peer"
)

// Downloads implements web.Node.
func (a *asked) Downloads(ctx context.Context) ([]api.Download, error) {
	views, err := a.n.peer.Downloads(ctx)
	if err != nil {
		return nil, err
	}
	ds := make([]api.Download, 0, len(views))
	for i := range views {
		ds = append(ds, download(&views[i]))
	}
	return ds, nil
}

func download(v *peer.DownloadView) api.Download {
	d := api.Download{
		Digest: v.Digest.String(), Size: v.Size, Pieces: v.Have.Len(), Have: v.Have.Count(), Started: v.Started.UTC(),
		Readers: v.Readers, Partial: v.Partial, Ahead: v.Ahead, Given: given(v.Given),
		Neighbours: make([]api.Neighbour, 0, len(v.Neighbours)), Reads: make([]api.Read, 0, len(v.Reads)),
		Ranges: api.Ranges(func(yield func(int, int) bool) {
			for r := range v.Have.Ranges() {
				if !yield(r.First, r.End) {
					return
				}
			}
		}),
	}
	for _, n := range v.Neighbours {
		d.Neighbours = append(d.Neighbours, api.Neighbour{
			Peer: string(n.Peer), Zone: n.Zone, Answered: n.Answered, Have: n.Have, Requests: n.Outstanding,
			BytesPerSecond: int64(n.Rate), Resting: n.Resting,
		})
	}
	for _, l := range v.Reads {
		d.Reads = append(d.Reads, api.Read{
			Lease: uint64(l.ID), Whole: l.Whole, Bytes: l.Bytes,
			Ranges: api.Ranges(func(yield func(int, int) bool) { yield(l.Pieces.First, l.Pieces.End) }),
		})
	}
	return d
}

func given(gs []journal.Given) []api.Given {
	all := make([]api.Given, 0, len(gs))
	for _, g := range gs {
		all = append(all, api.Given(g))
	}
	return all
}

// Explain implements web.Node.
func (a *asked) Explain(ctx context.Context, name string) (api.Explanation, bool, error) {
	s, ok := a.n.journal.Of(name)
	e := api.Explanation{Name: name, Entries: make([]api.Event, 0, len(s.Entries)), Dropped: s.Dropped, Given: given(s.Given)}
	for _, one := range s.Entries {
		e.Entries = append(e.Entries, event(one))
	}
	views, err := a.n.peer.Downloads(ctx)
	for i := range views {
		if views[i].Digest.String() == name {
			running := download(&views[i])
			e.Download, e.Given = &running, running.Given
		}
	}
	return e, ok, err
}

// Explained implements web.Node.
func (a *asked) Explained(context.Context) ([]api.Explained, error) {
	stories := a.n.journal.Recent()
	all := make([]api.Explained, 0, len(stories))
	for _, s := range stories {
		if len(s.Entries) > 0 {
			all = append(all, api.Explained{Name: s.Name, Last: event(s.Entries[0])})
		}
	}
	return all, nil
}

func event(e journal.Entry) api.Event {
	return api.Event{At: e.At.UTC(), Last: e.Last.UTC(), Times: e.Times, Kind: string(e.Kind), Text: e.Text}
}
