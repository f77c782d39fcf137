package peer

import (
	"errors"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What a peer does when nobody gives it bytes. With a scheduler it asks for
// help first and takes from the origin only when none comes (G2 must hold
// even if the scheduler is wrong); without one it shares the origin with its
// neighbours by chance.
const (
	// schedulerGrace is how long a new download waits for a scheduler that
	// is not there, before it looks after itself.
	schedulerGrace = 200 * time.Millisecond
	// silence is how long a scheduler that is there may not answer at all. In a
	// flash crowd of ten thousand it answers in a twentieth of that.
	silence = time.Second
	// askAfter is how long no byte may arrive before the scheduler hears.
	askAfter = 500 * time.Millisecond
	// takeAfter is how long no byte may arrive before the peer takes one
	// piece from the origin itself; jitter of up to takeJitter for each
	// neighbour comes on top, so that a whole swarm that waits for a slow
	// origin does not fall upon it at once: the first few feed the others.
	takeAfter  = 1500 * time.Millisecond
	takeJitter = 150 * time.Millisecond
	// takeAnyway is how long a peer whose neighbours answer, but are busy
	// with others, waits for a byte. A queue is not a failure, and jumping
	// it by the origin would cost every byte twice under load.
	takeAnyway = 5 * time.Second
	// maxWait is how long a peer that receives nothing waits at most when the
	// scheduler asks it to: it may be wrong.
	maxWait = 30 * time.Second
	// helpFor is how long a peer without a scheduler goes on reading what falls
	// to others, once nothing came from them.
	helpFor = 5 * time.Second
	// selfReads is how many reads a peer alone has under way: many
	// registries cap one connection far below the line.
	selfReads = 4
	// selfRun bounds one such read.
	selfRun = 16 << 20
	// maxOriginFails is how often in a row the origin may fail a peer that
	// gets nothing elsewhere, before the download fails and the client is
	// sent to the origin itself.
	maxOriginFails = 2
	// despairAfter is how long neighbours that have what is missing may send
	// neither a byte nor word that they are busy before the origin's failures
	// count.
	despairAfter = 8 * time.Second
)

// drawPatience draws the jitter for the next stall.
func (d *download) drawPatience() {
	span := time.Duration(len(d.neighbours)) * takeJitter
	d.patience = takeAfter + time.Duration(d.rng.Int64N(int64(span)+1))
}

// tickStall looks whether this download needs the origin on its own account.
func (d *download) tickStall(now time.Time) {
	if d.committing || d.sizing && d.ingest == nil || d.ref.Source == nil || now.Before(d.retryOrigin) {
		return
	}
	if d.partial.on && d.ingest == nil {
		d.askSize(now)
		return
	}
	if d.undemanding() {
		d.moved = now
		return
	}
	if d.alone() || !d.schedulerUp {
		if d.alone() || now.Sub(d.joined) > schedulerGrace {
			d.lookAfterMyself(now)
		}
		return
	}
	if !d.partial.met && now.Sub(d.joined) > schedulerGrace {
		d.seek()
		if now.Sub(d.joined) > d.p.unheard.silence() {
			d.p.unheard.scheduler.Store(true)
			d.lookAfterMyself(now)
			return
		}
	}
	if len(d.leases) == 0 {
		d.callForHelp(now)
	}
}

// callForHelp is for a download under a scheduler that reads nothing itself: it
// says that nothing comes, and in the end takes a piece from the origin.
func (d *download) callForHelp(now time.Time) {
	still := now.Sub(d.moved)
	if still > askAfter && now.Sub(d.asked) > askAfter {
		d.asked = now
		if d.unanswered.IsZero() {
			d.unanswered = now
		}
		d.note(journal.Waiting, "no byte for half a second or more: the scheduler is asked for help")
		d.report(true)
	}
	if still > askAfter && d.unheard(now) {
		d.lookAfterMyself(now)
		return
	}
	if still > d.patienceNow(now) && (now.After(d.waitUntil) || still > maxWait) {
		d.log.Debug("nobody sends anything: taking a piece from the origin")
		d.selfRead(1, false)
		d.drawPatience()
	}
}

// patienceNow is how long no byte may arrive before the peer helps itself.
func (d *download) patienceNow(now time.Time) time.Duration {
	if now.Sub(d.heardOf) < takeAfter {
		return d.patience + takeAnyway - takeAfter
	}
	return d.patience
}

// told takes the scheduler's word that what is missing is on its way.
func (d *download) told(dec scheduler.Wait, now time.Time) {
	d.spokenOf()
	d.note(journal.Waiting, "the scheduler asks for patience: %s", dec.Reason)
	d.waitUntil = now.Add(dec.For)
	d.board.promised.Store(now.UnixNano())
}

// lookAfterMyself shares the origin without a scheduler: alone by several
// reads from the front on; among others by reading what falls to this peer, and
// anything if nothing comes from them.
func (d *download) lookAfterMyself(now time.Time) {
	if d.settling(now) {
		return
	}
	with := d.companions()
	if with == 0 || d.alone() || d.p.barred(d.ref.Digest) {
		for len(d.leases) < selfReads && d.selfRead(selfReads, false) {
			continue
		}
		return
	}
	if d.ingest == nil || d.noRange { // all or nothing
		if d.falls(0) {
			d.selfRead(1, false)
		}
	} else {
		d.readOwn(max(1, selfReads/(with+1)))
	}
	d.shorten()
	d.noticeStall(now)
	if len(d.leases) == 0 && now.Sub(d.stalledAt) < helpFor {
		d.selfRead(1, true)
	}
}

// shorten ends the long reads of a peer that was alone after the piece that they
// are at: the rest is shared with those who came.
func (d *download) shorten() {
	for l := range d.leases {
		if l.id == 0 && !l.whole && !d.partial.on && l.pieces.Len() > 1 {
			l.enough.Store(true)
		}
	}
}

// noticeStall notes that nothing comes from those who share the origin. Where
// many were found they may all wait for a slow one, for longer; and longer still
// for their turn at neighbours that go on to receive.
func (d *download) noticeStall(now time.Time) {
	wait := askAfter
	if d.crowded() {
		wait = d.patienceNow(now)
	}
	if now.Sub(d.moved) > wait {
		d.stalledAt = now
		d.disband()
		d.drawPatience()
	}
}

// open counts the neighbours that have anything.
func (d *download) open() int {
	n := 0
	for _, x := range d.neighbours {
		if x.open && x.has.Count() > 0 {
			n++
		}
	}
	return n
}

// selfRead reads from the origin without a lease: the whole blob where it
// must be, else one of about share runs of what is missing, from the front or
// from a random piece that no neighbour has. False: there is nothing to read.
func (d *download) selfRead(share int, random bool) bool {
	if d.ingest == nil || d.noRange {
		if len(d.leases) > 0 {
			return false
		}
		d.startLease(0, piece.Range{}, true)
		return true
	}
	run, ok := d.nextRun(share, random)
	if ok {
		d.startLease(0, run, false)
	}
	return ok
}

// nextRun chooses the pieces of a read on the peer's own account.
func (d *download) nextRun(share int, random bool) (piece.Range, bool) {
	need := &d.picker.Need
	first, seen := -1, 0
	front := d.front()
	for _, from := range []int{front, 0} {
		for i := range need.From(from) {
			switch {
			case random && d.picker.Rarity[i] == 0:
				if seen++; d.rng.IntN(seen) == 0 {
					first = i
				}
			case !random && first < 0:
				first = i
			}
		}
		if first >= 0 {
			break
		}
	}
	if first < 0 {
		return piece.Range{}, false
	}
	most := 1
	if share > 1 {
		most = max(1, min(need.Count()/(2*share), int(selfRun/d.layout.PieceSize())))
	}
	run := piece.Range{First: first, End: first + 1}
	for run.Len() < most && need.Has(run.End) {
		run.End++
	}
	return run, true
}

// despair fails the download when the origin refuses for good, or keeps
// failing, and nobody else gives anything: the client is better served by
// the origin's own answer than by waiting.
func (d *download) despair() {
	if s, ok := d.ref.Source.(*sources); ok && s.again(d.originErr) {
		return
	}
	if d.hopes() && min(time.Since(d.moved), time.Since(d.heardOf)) < despairAfter {
		return
	}
	var refusal *OriginError
	final := errors.As(d.originErr, &refusal) && refusal.final()
	if len(d.leases) == 0 && (final && !d.hopes() || d.originFails >= maxOriginFails) {
		d.fail(d.originErr)
	}
}

// abandon ends a download that nobody reads any more. What arrived is kept.
func (d *download) abandon() {
	b := d.board
	b.mu.Lock()
	if len(b.readers) > 0 {
		b.mu.Unlock()
		return
	}
	b.ending = true
	b.mu.Unlock()
	d.log.Debug("nobody reads this any more")
	d.noteEnd(journal.Left, "nobody reads it any more")
	d.leave(ErrClosed)
}

// leave takes the download out of the swarm and ends it.
func (d *download) leave(err error) {
	d.ended = true
	if d.ahead.on.Load() {
		d.p.stats.aheadGivenUp.Add(1)
	}
	d.board.update(func() { d.board.ending, d.board.err = true, err })
	for _, n := range d.neighbours {
		if !n.offered.IsZero() {
			d.p.cfg.Network.Send(n.peer, Bye{Digest: d.ref.Digest})
		}
	}
	d.p.tell(scheduler.Leave{Peer: d.p.cfg.Self.ID, Digest: d.ref.Digest})
}

// fail ends the download with an error that its readers get.
func (d *download) fail(err error) {
	if d.ended {
		return
	}
	d.log.Info("download failed", "err", err)
	d.noteEnd(journal.Failed, err.Error())
	d.p.stats.failed.Add(1)
	if notKept(err) && d.ingest != nil {
		d.p.broken.add(d.ref.Digest, ErrNoSpace, time.Now())
	}
	d.leave(err)
}
