package peer

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What the scheduler is told of downloads: that they are in the swarm, and how they fare.

// summaryEvery is how often the scheduler hears of running downloads.
// It only needs to see trends; HAVE goes from peer to peer.
const summaryEvery = time.Second

// firstSummary is when it first hears of one that begins on an idle peer. What
// it takes to see that peers bring too little is bounded by that, so it is not
// left to chance; but a cluster that starts at once does not report at once.
func firstSummary() time.Duration {
	return summaryEvery - rand.N(summaryEvery/4)
}

// noteBegun is called when a download starts. mu is held.
func (p *Peer) noteBegun() {
	if !p.idle {
		return
	}
	p.idle = false
	select {
	case p.begun <- struct{}{}:
	default:
	}
}

// join tells the scheduler that this peer is in the swarm, and what it has.
func (d *download) join() {
	m := scheduler.Membership{
		Digest: d.ref.Digest, Size: scheduler.SizeUnknown, Have: d.have.Clone(),
	}
	if d.ingest != nil {
		m.Size = d.layout.Size()
	}
	if d.ref.Source != nil && !d.partial.on && !d.ahead.on.Load() {
		m.Origin = d.ref.Source.Host()
	}
	if d.moving {
		m.Moved, m.Leases = true, d.underLease()
	}
	m.Patient = d.board.patient.Load()
	d.joined, d.moving, d.saidPatient = time.Now(), false, m.Patient
	d.schedulerUp = d.p.tell(scheduler.Join{Peer: d.p.cfg.Self.ID, Blobs: []scheduler.Membership{m}})
	d.noteJoined(m)
	if d.trust.in != inAll {
		d.p.tell(scheduler.Dispute{Peer: d.p.cfg.Self.ID, Digest: d.ref.Digest})
	}
	if !d.schedulerUp {
		d.turnToAcquaintances()
		d.seek()
	}
}

func (d *download) attached() {
	d.moving = !d.joined.IsZero()
	if !d.sizing || d.ingest != nil {
		d.join()
	}
}

// detached goes on alone: leases of a scheduler that is gone still stand, as
// nobody else can have been given them.
func (d *download) detached() {
	d.schedulerUp, d.partial.met, d.joined = false, false, time.Now()
	d.turnToAcquaintances()
	d.seek()
}

// progress is what the scheduler hears in a Summary.
func (d *download) progress() scheduler.Progress {
	p := scheduler.Progress{
		Digest: d.ref.Digest, Size: scheduler.SizeUnknown, Have: d.have.Clone(),
	}
	if d.ingest != nil {
		p.Size = d.layout.Size()
	}
	for l := range d.leases {
		if l.id != 0 {
			p.Leases = append(p.Leases, scheduler.LeaseBytes{ID: l.id, Bytes: l.bytes.Load()})
		}
	}
	if d.undemanding() { // its neighbours are not to blame
		return p
	}
	now := time.Now()
	for id, n := range d.neighbours {
		p.Rates = append(p.Rates, scheduler.NeighbourBytes{Peer: id, Bytes: n.delivered})
		n.measure(now)
	}
	return p
}

// report sends progress at once, out of turn.
func (d *download) report(stalled bool) {
	p := d.progress()
	p.Stalled = stalled
	d.p.tell(scheduler.Summary{Peer: d.p.cfg.Self.ID, Blobs: []scheduler.Progress{p}})
}

// summarise sends one Summary of all running downloads.
func (p *Peer) summarise(ctx context.Context) {
	var blobs []scheduler.Progress
	for _, d := range p.all() {
		reply := make(chan scheduler.Progress, 1)
		d.post(func() { reply <- d.progress() })
		select {
		case pr := <-reply:
			blobs = append(blobs, pr)
		case <-d.stopping:
		case <-ctx.Done():
			return
		}
	}
	if len(blobs) > 0 {
		p.tell(scheduler.Summary{Peer: p.cfg.Self.ID, Blobs: blobs})
	}
	p.mu.Lock()
	p.idle = len(p.downloads) == 0
	p.mu.Unlock()
}
