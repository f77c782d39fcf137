package peer

import (
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// maxNeighbours bounds the edges of one download. The scheduler hands
	// out 40 at most; some that it has parted may not know yet.
	maxNeighbours = 48
	// offerWait is how long a neighbour may take to answer an offer, and
	// offerTries how often it is asked, before it is reported.
	offerWait  = 1500 * time.Millisecond
	offerTries = 3
	// replyGap: an offer is not answered if one went the other way just
	// before, as when both were introduced to each other.
	replyGap = 300 * time.Millisecond
	// maxBacklog bounds the news kept while the store opens the ingest.
	maxBacklog = 256
	// maxStrikes is how many transfers in a row may fail before a
	// neighbour loses its place.
	maxStrikes = 3
)

// neighbour is another peer in the swarm, as this download sees it.
type neighbour struct {
	peer  scheduler.Peer
	order uint64 // its order in turns (partial.go)
	// has and claims are what it offered; open says that it has offered.
	// They are kept aside in pending while the size is not known here.
	open    bool
	has     piece.Bitfield
	claims  []piece.Digest
	pending *Offer
	backlog []Have // came after pending, to be applied with it

	offered     time.Time // when it was last sent an offer
	withheld    bool      // which told it nothing, because it had shown no ticket
	tries       int       // offers without answer
	found       bool      // by this download's own search
	proven      bool      // it has the whole blob, as the scheduler knows
	outstanding int       // requests under way
	strikes     int
	coolUntil   time.Time // no requests before then: it was busy
	delivered   int64     // bytes since the last summary
	rate        rate      // for people
	untold      []Claim   // what is here and was not announced to it yet (have.go)
	told        time.Time // when something was
}

// introduced takes the scheduler's word on new neighbours and the size.
func (d *download) introduced(dec scheduler.Introduce) {
	d.schedulerUp, d.partial.met = true, true
	d.spokenOf()
	d.share = choice.Share(dec.Share)
	if d.picker != nil {
		d.picker.Share = d.share
	}
	if dec.Size != scheduler.SizeUnknown {
		d.sized(dec.Size)
	}
	d.noteIntroduced(dec)
	d.p.warnIfBarred(d.ref.Digest)
	for _, p := range dec.Peers {
		n := d.meet(p)
		if n == nil {
			continue
		}
		n.proven = n.proven || dec.Proven
		if !n.open || !n.proven {
			d.offer(n, false)
		}
		d.compare(n)
	}
}

// far reports whether a neighbour is known to be in another zone.
func (d *download) far(n *neighbour) bool {
	own := d.p.cfg.Self.Zone
	return own != "" && n.peer.Zone != "" && n.peer.Zone != own
}

// meet returns the neighbour for p, new or known; nil if there is no room.
func (d *download) meet(p scheduler.Peer) *neighbour {
	if p.ID == d.p.cfg.Self.ID || d.p.bans.banned(p.ID, time.Now()) {
		return nil
	}
	if n := d.neighbours[p.ID]; n != nil {
		return n
	}
	if len(d.neighbours) >= maxNeighbours {
		return nil
	}
	n := &neighbour{peer: p, order: peerOrder(p.ID)}
	d.neighbours[p.ID] = n
	d.p.acquainted.note(p)
	return n
}

// offer tells a neighbour what is here. Before the size is known there is
// nothing to tell but interest.
func (d *download) offer(n *neighbour, reply bool) {
	if d.sizing && d.ingest == nil {
		return // opened will offer
	}
	o := Offer{
		From: d.p.cfg.Self, Digest: d.ref.Digest, Size: scheduler.SizeUnknown, Reply: reply, Ticket: d.p.ownTicket(d.ref.Digest),
	}
	n.withheld = !d.p.may(n.peer.ID, d.ref.Digest)
	if d.ingest != nil && !n.withheld {
		o.Size, o.Have = d.layout.Size(), d.have.Clone()
		for i := range d.have.All() {
			o.Claims = append(o.Claims, d.ingest.Claim(i))
		}
	}
	n.offered = time.Now()
	n.untold, n.told = nil, n.offered // the offer says all
	if !reply {
		n.tries++
	}
	d.p.cfg.Network.Send(n.peer, o)
}

// offered takes what a neighbour says that it has.
func (d *download) offered(o Offer) {
	var n *neighbour
	if o.Reply || d.p.may(o.From.ID, d.ref.Digest) {
		n = d.meet(o.From)
	}
	if n == nil {
		if !o.Reply {
			d.p.cfg.Network.Send(o.From, Bye{Digest: d.ref.Digest})
		}
		return
	}
	d.forget(n) // it may have moved to another zone
	n.peer, n.tries = o.From, 0
	n.pending, n.backlog = &o, nil
	if o.Size != scheduler.SizeUnknown {
		d.sized(o.Size)
	}
	if d.ingest != nil {
		d.admit(n)
	}
	if d.answerTo(n, o) {
		d.offer(n, true)
	}
}

// admit makes a neighbour's offer count, now that the layout is known.
func (d *download) admit(n *neighbour) {
	o := n.pending
	if o == nil || o.Size == scheduler.SizeUnknown {
		n.open = o != nil
		if n.open && n.has.Len() == 0 {
			n.has = piece.NewBitfield(d.layout.Count())
			n.claims = make([]piece.Digest, d.layout.Count())
		}
		n.pending = nil
		return
	}
	n.pending = nil
	if o.Size != d.layout.Size() || o.Have.Len() != d.layout.Count() || len(o.Claims) != o.Have.Count() {
		d.log.Warn("neighbour disagrees on the blob's size", "peer", n.peer.ID, "theirs", o.Size, "ours", d.layout.Size())
		d.part(n.peer.ID)
		return
	}
	d.forget(n)
	n.open, n.has = true, o.Have.Clone()
	n.claims = make([]piece.Digest, d.layout.Count())
	k := 0
	for i := range n.has.All() {
		n.claims[i] = o.Claims[k]
		k++
	}
	d.picker.Add(&n.has, d.far(n), time.Now())
	for _, m := range n.backlog {
		d.heard(n, m)
	}
	n.backlog = nil
	d.compare(n)
}

// forget takes a neighbour's pieces out of the count.
func (d *download) forget(n *neighbour) {
	if d.picker != nil && n.has.Len() > 0 {
		d.picker.Remove(&n.has, d.far(n))
	}
	n.open, n.has, n.claims = false, piece.Bitfield{}, nil
}

// neighbourHas takes news of more pieces.
func (d *download) neighbourHas(from scheduler.PeerID, m Have) {
	n := d.neighbours[from]
	if n == nil {
		return
	}
	if n.pending != nil && len(n.backlog) < maxBacklog {
		n.backlog = append(n.backlog, m)
		return
	}
	if !n.open { // the link broke: tickNeighbours asks for all again
		n.pending, n.backlog = nil, nil
		return
	}
	d.heard(n, m)
}

// heard counts what an open neighbour says that it has.
func (d *download) heard(n *neighbour, m Have) {
	d.heardOf = time.Now()
	d.board.promised.Store(d.heardOf.UnixNano())
	for _, c := range m.Pieces {
		if c.Index >= 0 && c.Index < n.has.Len() && n.has.Set(c.Index) {
			n.claims[c.Index] = c.Digest
			d.picker.Gain(c.Index, d.far(n), d.heardOf)
		}
	}
	d.compare(n)
}

// leftBy ends the edge to a neighbour that says goodbye.
func (d *download) leftBy(id scheduler.PeerID) {
	if d.neighbours[id] == nil {
		return
	}
	d.part(id)
	d.blame(id, scheduler.Unreachable)
}

// lost voids what a peer offered; tickNeighbours tries it again.
func (d *download) lost(id scheduler.PeerID, err error) {
	n := d.neighbours[id]
	if n == nil {
		return
	}
	d.log.Debug("link lost", "peer", id, "err", err)
	d.forget(n)
	n.pending, n.backlog = nil, nil
	n.tries = max(n.tries, 1)
}

// tickNeighbours offers again to those that have not answered, and gives up
// on those that never do.
func (d *download) tickNeighbours(now time.Time) {
	if d.sizing && d.ingest == nil {
		return
	}
	for id, n := range d.neighbours {
		if n.open || n.pending != nil || now.Sub(n.offered) < offerWait {
			continue
		}
		if n.tries >= offerTries {
			d.part(id)
			d.p.acquainted.forget(id)
			d.blame(id, scheduler.Unreachable)
			continue
		}
		d.offer(n, false)
	}
}

func (d *download) parted(dec scheduler.Part) {
	for _, id := range dec.Peers {
		d.note(journal.Parted, "from %s, says the scheduler: %s", id, dec.Reason)
		d.part(id)
	}
}

// part ends the edge to a neighbour and what is under way from it.
func (d *download) part(id scheduler.PeerID) {
	n := d.neighbours[id]
	if n == nil {
		return
	}
	d.forget(n)
	d.deserted(id)
	delete(d.neighbours, id)
	for _, fs := range d.fetches {
		for _, f := range fs {
			if f.from == n {
				f.stop()
			}
		}
	}
}

func (d *download) blame(id scheduler.PeerID, fault scheduler.Fault) {
	d.note(journal.Blamed, "%s: %s", id, faultWords(fault))
	d.p.tell(scheduler.Blame{Peer: d.p.cfg.Self.ID, Digest: d.ref.Digest, Neighbour: id, Fault: fault})
}

// strike counts a failed transfer against a neighbour, which loses its place
// after several. One that is slow, but the only one with anything, keeps it:
// the origin may be down; and if it is up, a download that gets no bytes turns
// to it with or without this neighbour.
func (d *download) strike(n *neighbour, fault scheduler.Fault) {
	n.strikes++
	if n.strikes < maxStrikes || d.neighbours[n.peer.ID] != n {
		return
	}
	if fault == scheduler.Slow && n.open && d.open() <= 1 {
		return
	}
	d.part(n.peer.ID)
	d.blame(n.peer.ID, fault)
}
