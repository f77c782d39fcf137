package scheduler

import "time"

// Peers may all be there and yet of little use: their lines are full, or slow.
// A node that gets its bytes far slower from all of them together than the
// registry gives them to one reader is better off with the registry. Whether it is,
// or its own line is the slow one, shows when it reads one piece there.
const (
	// crawlWindow is for how long at least a node's bytes are counted for its
	// rate. Summaries come once a second.
	crawlWindow = 700 * time.Millisecond
	// quiet is how long a node tells nothing that receives nothing.
	quiet = 2 * time.Second
	// crawlFactor is how many times slower than one lease its peers must be.
	crawlFactor = 4
	// othersFedFor is how long ago it may be that another node was fed for peers
	// to be busy with others.
	othersFedFor = 2 * time.Second
	// crawlLeft: a blob that will be there within this is left alone.
	crawlLeft = 2 * time.Second
	// reliefFactor is how many times faster than its peers the piece must come.
	reliefFactor = 2
	// reliefAgain is how long a node is left alone for which it did not.
	reliefAgain = 30 * time.Second
)

// intake is what a node receives from peers, over all blobs.
type intake struct {
	since  time.Time // the window's beginning
	bytes  int64     // in the window
	told   time.Time // when it last told of anything
	rate   float64   // bytes a second in the last whole window
	known  bool      // there was one
	refuse time.Time // no relief before
}

// begin opens a window for a node that has wanted nothing for a while.
func (t *intake) begin(now time.Time) {
	if now.Sub(t.told) > quiet {
		t.since, t.bytes, t.known = now, 0, false
	}
	t.told = now
}

// takeIn counts what a summary tells of bytes from peers.
func (s *Scheduler) takeIn(e Summary) {
	n := s.peers[e.Peer]
	if n == nil {
		return
	}
	t, now := &n.intake, s.now
	t.begin(now)
	for i := range e.Blobs {
		for _, r := range e.Blobs[i].Rates {
			t.bytes += max(r.Bytes, 0)
		}
	}
	if long := now.Sub(t.since); long >= crawlWindow {
		t.rate, t.known = float64(t.bytes)/long.Seconds(), true
		t.since, t.bytes = now, 0
	}
}

// crawls reports whether m's node gets what others have so slowly from them that
// one piece from the registry is worth a try.
func (s *Scheduler) crawls(m *member) bool {
	in, sw, h := &m.node.intake, m.swarm, s.hostOf(m)
	if !in.known || m.complete || m.patient || h == nil || h.rate == 0 || sw.size == SizeUnknown || sw.rangeless || s.now.Before(in.refuse) {
		return false
	}
	left := float64(sw.layout.Count()-m.have.Count()) * float64(sw.layout.PieceSize())
	if in.rate*crawlFactor > h.rate || left < in.rate*crawlLeft.Seconds() {
		return false
	}
	all, _ := s.reading(m)
	return sw.free == 0 && all == 0 && !s.othersFed(m.node)
}

// feeding is who was fed last by peers, and who before.
type feeding struct{ last, before fedAt }

type fedAt struct {
	node *node
	at   time.Time
}

// note takes that a node told of bytes from peers.
func (f *feeding) note(n *node, now time.Time) {
	if f.last.node != n {
		f.before = f.last
	}
	f.last = fedAt{n, now}
}

// othersFed reports whether peers have fed another node than n of late. Then
// peers work, but are busy, and n's turn comes: a crowd at a few seeds must not
// turn to the registry.
func (s *Scheduler) othersFed(n *node) bool {
	f := s.feeding.last
	if f.node == n {
		f = s.feeding.before
	}
	return f.node != nil && s.now.Sub(f.at) < othersFedFor
}

// tryOrigin leases one piece to a node that crawls.
func (s *Scheduler) tryOrigin(m *member) {
	if m.leases == 0 && !m.relieved && s.mayHold(m) {
		if run := m.missingRun(1); run.Len() > 0 {
			s.lend(m, run, false, "others have it, but bring it far slower than the registry should")
		}
	}
}

// tried takes the end of a lease on what others have, and gives more of them if
// it was worth it.
func (s *Scheduler) tried(m *member, l *lease, span int64) {
	in := &m.node.intake
	if !m.relieved && !m.node.cutOff {
		took := s.now.Sub(l.granted).Seconds()
		if float64(span) < reliefFactor*in.rate*took {
			in.refuse = s.now.Add(reliefAgain)
			return
		}
		m.relieved = true
		m.node.cutOff = in.rate == 0
	}
	if m.relieved || m.node.cutOff {
		s.lendHeld(m)
	}
}
