package rpc

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Send implements peer.Scheduler: each blob's part of an event goes to the
// scheduler that owns its swarm, what is about jobs to all.
func (f *Fleet) Send(e scheduler.Event) {
	r := f.routes.Load()
	switch e := e.(type) {
	case scheduler.Join:
		f.remember(e.Blobs)
		for l, blobs := range byOwner(r, e.Blobs, func(b scheduler.Membership) piece.Digest { return b.Digest }) {
			l.out.Send(scheduler.Join{Peer: e.Peer, Blobs: blobs})
			for _, b := range blobs {
				if !b.Have.Full() { // a seed is not always answered
					f.trips.asked(b.Digest, time.Now())
				}
			}
		}
	case scheduler.Summary:
		for l, blobs := range byOwner(r, e.Blobs, func(b scheduler.Progress) piece.Digest { return b.Digest }) {
			l.out.Send(scheduler.Summary{Peer: e.Peer, Blobs: blobs})
		}
	case scheduler.Leave:
		f.forget(e.Digest)
		r.send(e.Digest, e)
	case scheduler.Blame:
		r.send(e.Digest, e)
	case scheduler.LeaseEnd:
		r.send(e.Digest, e)
	case scheduler.Dispute:
		r.send(e.Digest, e)
	case scheduler.PreheatReport: // any scheduler answers for any job
		for _, l := range r.to {
			l.out.Send(e)
		}
	}
}

func (r *routes) send(d piece.Digest, e scheduler.Event) {
	if l := r.owner(d); l != nil {
		l.out.Send(e)
	}
}

// byOwner deals blobs out, in their order.
func byOwner[T any](r *routes, blobs []T, digest func(T) piece.Digest) map[*line][]T {
	dealt := make(map[*line][]T)
	for _, b := range blobs {
		if l := r.owner(digest(b)); l != nil {
			dealt[l] = append(dealt[l], b)
		}
	}
	return dealt
}

// remember keeps in mind which swarms this peer is in.
func (f *Fleet) remember(blobs []scheduler.Membership) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range blobs {
		f.joined[b.Digest] = struct{}{}
	}
}

func (f *Fleet) forget(d piece.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.joined, d)
}

// Dropped is how many events did not fit into the queues.
func (f *Fleet) Dropped() (n int64) {
	for _, l := range f.routes.Load().to {
		n += l.voice.client.Dropped()
	}
	return n
}

// Schedulers is how many there are now.
func (f *Fleet) Schedulers() int { return len(f.routes.Load().names) }

// Vouch tells all schedulers what Client.Vouch tells one.
func (f *Fleet) Vouch(k scheduler.VouchKey) {
	f.mu.Lock()
	f.sightings.add(k, time.Now())
	f.mu.Unlock()
	for _, l := range f.routes.Load().to {
		l.voice.client.Vouch(k)
	}
}

// Recall asks one scheduler what Client.Recall asks; all are told the same.
func (f *Fleet) Recall(ctx context.Context, k scheduler.VouchKey) (age time.Duration, known bool, err error) {
	for l := range maps.Values(f.routes.Load().to) {
		return l.voice.client.Recall(ctx, k)
	}
	return 0, false, fmt.Errorf("ask a scheduler who vouches: %w", errUnreachable)
}
