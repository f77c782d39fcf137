package rpc

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// line is one stream to a scheduler. One that comes back has forgotten this
// peer, and is another line.
type line struct {
	voice *voice
	name  string
	out   peer.Scheduler
	since time.Time
	every time.Duration // between summaries, as it asked; owned by the fleet's loop
}

// voice is one scheduler as far as it is known.
type voice struct {
	fleet  *Fleet
	dial   string
	client *Client
	cancel context.CancelFunc

	// Owned by the fleet's loop:
	line  *line    // nil: not attached
	said  bool     // it has said whom it knows to be up, or never will
	names []string // those
}

// serves reports whether swarms may belong to a scheduler: it is attached, and
// not about to stop.
func (v *voice) serves() bool {
	return v.line != nil && (len(v.names) == 0 || slices.Contains(v.names, v.line.name))
}

// owner is whom a swarm belongs to; nil if nobody is there.
func (r *routes) owner(d piece.Digest) *line { return r.to[scheduler.Owner(r.names, d)] }

// Attached implements Handler.
func (v *voice) Attached(s peer.Scheduler) {
	name := v.client.name // empty: it is alone
	l := &line{voice: v, name: cmp.Or(name, v.dial), out: s, since: time.Now()}
	v.fleet.post(func() {
		if v.fleet.voices[v.dial] == v {
			v.line, v.said, v.names = l, name == "", nil
		}
	})
}

// Detached implements Handler.
func (v *voice) Detached() { v.fleet.post(func() { v.line = nil }) }

// Decide implements Handler. A swarm's owner alone decides; what another one
// granted it gets back.
func (v *voice) Decide(d scheduler.Decision) {
	if r, ok := d.(scheduler.Roster); ok {
		v.fleet.post(func() { v.said, v.names = true, r.Names })
		return
	}
	if s, ok := d.(scheduler.Shun); ok {
		if shun := v.fleet.cfg.Shun; shun != nil {
			shun(s)
		}
		return
	}
	if a, ok := d.(scheduler.Acquaint); ok {
		if meet := v.fleet.cfg.Meet; meet != nil {
			meet(a.Peers)
		}
		return
	}
	if i, ok := d.(scheduler.SummaryInterval); ok {
		v.fleet.post(func() {
			if v.line != nil {
				v.line.every = i.Every
			}
		})
		return
	}
	switch d.(type) {
	case scheduler.Preheat, scheduler.PreheatEnd:
		if preheat := v.fleet.cfg.Preheat; preheat != nil {
			preheat(d)
		}
		return
	}
	digest, ok := digestOf(d)
	if ok {
		v.fleet.trips.answered(digest, time.Now())
	}
	if _, revoked := d.(scheduler.Revoke); !ok || revoked || v.owns(digest) {
		v.fleet.cfg.Handler.Decide(d)
		return
	}
	if g, ok := d.(scheduler.Grant); ok {
		v.giveBack(g)
	}
}

func (v *voice) owns(d piece.Digest) bool {
	l := v.fleet.routes.Load().owner(d)
	return l != nil && l.voice == v
}

func (v *voice) giveBack(g scheduler.Grant) {
	v.fleet.post(func() {
		if v.line != nil {
			v.line.out.Send(scheduler.LeaseEnd{Peer: g.To, Digest: g.Digest, Lease: g.Lease.ID, Outcome: scheduler.Failed})
		}
	})
}

// digestOf is the blob that a decision is about.
func digestOf(d scheduler.Decision) (piece.Digest, bool) {
	switch d := d.(type) {
	case scheduler.Introduce:
		return d.Digest, true
	case scheduler.Part:
		return d.Digest, true
	case scheduler.Grant:
		return d.Digest, true
	case scheduler.Revoke:
		return d.Digest, true
	case scheduler.Wait:
		return d.Digest, true
	}
	return piece.Digest{}, false
}
