package peer

import (
	"slices"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What a peer holds is announced to a scheduler that does not know it: one
// that it comes to, and one that takes over swarms from another. After a
// scheduler's restart all peers do so at once, and ten thousand full stores are
// more than it can hear in a minute. So what was used last comes first, and the
// rest follows slowly.
const (
	// announceFirst are told at once: the images that a node runs now.
	announceFirst = 64
	// announceThen are told once a second: ten thousand
	// peers then say 160,000 things a second at most, which the scheduler's
	// back-pressure stretches; a full store takes four minutes.
	announceThen = 16
	// maxAnnounced bounds what a node announces in all: the blobs used last.
	// 4096 layers are some hundred images.
	maxAnnounced = 4096
)

// Attached says that there is a scheduler, to which events go until Detached.
// All that this peer holds and downloads is announced.
func (p *Peer) Attached(s Scheduler) {
	p.summaryEvery.Store(0) // before it can ask for another
	p.mu.Lock()
	p.sched, p.unsaid = s, nil
	p.mu.Unlock()
	p.Moved(func(piece.Digest) bool { return true })
}

// Moved says that the swarms of some blobs are with another scheduler now,
// which does not know this peer. What it holds and downloads of them is
// announced again.
func (p *Peer) Moved(whose func(piece.Digest) bool) {
	p.announceHeld(whose)
	for _, d := range p.all() {
		if whose(d.ref.Digest) {
			d.post(func() { d.attached() })
		}
	}
}

// Detached says that there is no scheduler any more.
func (p *Peer) Detached() {
	p.mu.Lock()
	p.sched, p.unsaid = nil, nil
	p.mu.Unlock()
	for _, d := range p.all() {
		d.post(func() { d.detached() })
	}
}

// announceHeld announces what was used last, and leaves the rest to
// announceMore.
func (p *Peer) announceHeld(whose func(piece.Digest) bool) {
	var some []Held
	for _, h := range p.cfg.Store.Held() {
		if len(some) == maxAnnounced {
			break
		}
		if whose(h.Digest) {
			some = append(some, h)
		}
	}
	now := some[:min(len(some), announceFirst)]
	p.tellHeld(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsaid = append(p.unsaid, some[len(now):]...)
	p.unsaid = p.unsaid[:min(len(p.unsaid), maxAnnounced)]
}

// announceMore announces some of what is still to be told and still held.
func (p *Peer) announceMore() {
	p.mu.Lock()
	n := min(len(p.unsaid), announceThen)
	some := p.unsaid[:n]
	p.unsaid = p.unsaid[n:]
	p.mu.Unlock()
	if n == 0 {
		return
	}
	held := p.cfg.Store.Held()
	p.tellHeld(slices.DeleteFunc(slices.Clone(some), func(h Held) bool { return !slices.Contains(held, h) }))
}

func (p *Peer) tellHeld(held []Held) {
	var batch []scheduler.Membership
	for _, h := range held {
		if l, err := piece.NewLayout(h.Size); err == nil {
			batch = append(batch, scheduler.Membership{Digest: h.Digest, Size: h.Size, Have: piece.FullBitfield(l.Count())})
		}
	}
	if len(batch) > 0 {
		p.tell(scheduler.Join{Peer: p.cfg.Self.ID, Blobs: batch})
	}
}
