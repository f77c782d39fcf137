package scheduler

import "time"

// What nodes tell of bytes that they have from peers, once a second, and what
// follows from it: how fast peers feed a node, and whether they feed others.
const (
	// intakeWindow is for how long at least a node's bytes are counted for its
	// rate. Summaries come once a second.
	intakeWindow = 700 * time.Millisecond
	// quiet is how long a node tells nothing that wants nothing.
	quiet = 2 * time.Second
	// othersFedFor is how long ago it may be that another node was fed for peers
	// to be busy with others.
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
	if long := now.Sub(t.since); long >= intakeWindow {
		t.rate, t.known = float64(t.bytes)/long.Seconds(), true
		t.since, t.bytes = now, 0
	}
}

// feeding is who was fed last by peers, and who before.
type feeding struct{ last, before fedAt }

type fedAt struct {
	node *node
	at   time.Time
}

// noteFed takes that a node told of bytes from peers: it is not cut off.
func (s *Scheduler) noteFed(n *node) {
	n.fed, n.cutOff = s.now, false
	if s.feeding.last.node != n {
		s.feeding.before = s.feeding.last
	}
	s.feeding.last = fedAt{n, s.now}
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
