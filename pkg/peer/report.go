package peer

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What the scheduler is told of downloads: that they are in the swarm, and how they fare.

// summaryEvery is how often the scheduler hears of running downloads, unless it
// asked for less. It only needs to see trends; HAVE goes from peer to peer.
const summaryEvery = scheduler.SummaryEvery

// joinWait is how long a download waits for an answer to its first Join before it is
// told of in summaries all the same. A scheduler that has not come to the Join yet, of
// a crowd that came at once, has better things to do.
const joinWait = 5 * time.Second

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
	now := time.Now()
	if d.joined.IsZero() || d.moving { // one that knows the download need not answer
		d.awaited = now
	}
	d.joined, d.moving, d.saidPatient = now, false, m.Patient
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

// spokenOf notes that the scheduler speaks of this download.
func (d *download) spokenOf() { d.unanswered, d.awaited = time.Time{}, time.Time{} }

// tellable reports whether a summary is to tell of this download.
func (d *download) tellable(now time.Time) bool {
	return now.Sub(d.awaited) >= joinWait || len(d.underLease()) > 0
}

// pressing reports whether the scheduler waits for news of this download: without
// any a lease is given to somebody else, and who calls for help is taken for cut off
// from all peers.
func (d *download) pressing(now time.Time) bool {
	return len(d.underLease()) > 0 || now.Sub(d.asked) <= 2*askAfter
}

// report sends progress at once, out of turn.
func (d *download) report(stalled bool) {
	p := d.progress()
	p.Stalled = stalled
	d.p.tell(scheduler.Summary{Peer: d.p.cfg.Self.ID, Blobs: []scheduler.Progress{p}})
}

// summarise sends one Summary of all running downloads, if it is time.
func (p *Peer) summarise(ctx context.Context) {
	now, ds := time.Now(), p.all()
	var blobs []scheduler.Progress
	if p.summaries.Over(now, time.Duration(p.summaryEvery.Load())) || slices.Contains(askAll(ctx, ds, func(d *download) bool { return d.pressing(now) }), true) {
		for _, b := range askAll(ctx, ds, func(d *download) *scheduler.Progress {
			if !d.tellable(now) {
				return nil
			}
			b := d.progress()
			return &b
		}) {
			if b != nil {
				blobs = append(blobs, *b)
			}
		}
	}
	if len(blobs) > 0 {
		p.tell(scheduler.Summary{Peer: p.cfg.Self.ID, Blobs: blobs})
	}
	p.mu.Lock()
	p.idle = len(p.downloads) == 0
	p.mu.Unlock()
}

// askAll has each download's loop answer, but for those that end.
func askAll[T any](ctx context.Context, ds []*download, what func(*download) T) (answers []T) {
	for _, d := range ds {
		reply := make(chan T, 1)
		d.post(func() { reply <- what(d) })
		select {
		case answer := <-reply:
			answers = append(answers, answer)
		case <-d.stopping:
		case <-ctx.Done():
			return nil
		}
	}
	return answers
}
