package scheduler

import "time"

// What nodes tell of bytes that they have from peers, again and again, and what
// follows from it: how fast peers feed a node, and whether they feed others.
const (
	// intakeWindow is for how long at least a node's bytes are counted for its
	// rate. Summaries come once a second, or less often.
	intakeWindow = 700 * time.Millisecond
	// quiet is how long a node tells nothing that wants nothing, if it reports each
	// SummaryEvery.
	quiet = 2 * time.Second
	// othersFedFor is how long ago it may be that another node was fed for peers
	// to be busy with others, if they report each SummaryEvery.
	othersFedFor = 2 * time.Second
)

// intake is what a node receives from peers, over all blobs.
type intake struct {
	since time.Time // the window's beginning
	bytes int64     // in the window
	told  time.Time // when it last told of anything
	rate  float64   // bytes a second in the last whole window
	known bool      // there was one
}

// wants notes that a node wants something; if it had wanted nothing for a while
// a window opens.
func (s *Scheduler) wants(n *node) {
	t := &n.intake
	if s.now.Sub(t.told) > quiet+n.slack() {
		t.since, t.bytes, t.known = s.now, 0, false
		s.begun.note(n, s.now)
	}
	t.told = s.now
}

// takeIn counts what a summary tells of bytes from peers.
func (s *Scheduler) takeIn(e Summary) {
	n := s.peers[e.Peer]
	if n == nil {
		return
	}
	s.wants(n)
	t, now := &n.intake, s.now
	for i := range e.Blobs {
		for _, r := range e.Blobs[i].Rates {
			t.bytes += max(r.Bytes, 0)
		}
	}
	if long := now.Sub(t.since); long >= intakeWindow {
		t.rate, t.known = float64(t.bytes)/long.Seconds(), true
		t.since, t.bytes = now, 0
	}
}

// lately is which node something happened to last, and which other before.
type lately struct{ last, before happened }

type happened struct {
	node *node
	at   time.Time
}

func (l *lately) note(n *node, at time.Time) {
	if l.last.node != n {
		l.before = l.last
	}
	l.last = happened{n, at}
}

// toOthers reports whether it happened to another node than n since a time.
func (l *lately) toOthers(n *node, since time.Time) bool {
	h := l.last
	if h.node == n {
		h = l.before
	}
	return h.node != nil && h.at.After(since)
}

// noteFed takes that a node told of bytes from peers: it is not cut off.
func (s *Scheduler) noteFed(n *node) {
	n.fed, n.cutOff = s.now, false
	s.fedLast.note(n, s.now)
}

// othersFed reports whether peers have fed another node than n of late. Then
// peers work, but are busy, and n's turn comes: a crowd at a few seeds must not
// turn to the registry.
func (s *Scheduler) othersFed(n *node) bool {
	return s.fedLast.toOthers(n, s.now.Add(-othersFedFor-n.slack()))
}

// othersBegan reports whether another node than n has begun to want something
// so lately that it need not have told yet whether it is fed.
func (s *Scheduler) othersBegan(n *node) bool {
	return s.begun.toOthers(n, s.now.Add(-othersFedFor-n.slack()))
}
