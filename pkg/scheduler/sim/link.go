package sim

// link is one direction of a line. What wants to pass while it is busy waits.
type link struct {
	rate float64 // bytes a ns
	free int64   // when what it has taken on is through
}

// pass takes n bytes on at a time and says when they are through.
func (l *link) pass(now, n int64) int64 {
	l.free = max(l.free, now) + int64(float64(n)/l.rate)
	return l.free
}

// chunksPerPiece is how finely transfers that share a line take turns, and
// minChunk the least that a turn moves. Finer turns change results by less
// than 1 % and cost time in proportion.
const (
	chunksPerPiece = 4
	minChunk       = 256 << 10
)

// sender shares an uplink among flows: one chunk of each in turn.
type sender struct {
	w     *world
	up    link
	ready []*flow
	busy  bool
}

// flow is one transfer. The next chunk begins when the last one has arrived, so
// that a receiver or a zone that is busy slows this flow and no other.
type flow struct {
	from  *sender
	via   [2]*link // the zones' lines between, if any
	down  *link
	left  int64
	chunk int64
	// cap bounds the flow's own rate, in bytes a ns; 0: it does not.
	cap     float64
	sink    sink
	moving  int64 // of left, in the chunk under way
	stopped bool
}

// sink is told what arrives.
type sink interface {
	// arrived takes the number of bytes that came; left is what is missing.
	arrived(n, left int64)
}

// start lets a flow take part.
func (f *flow) start() {
	f.from.ready = append(f.from.ready, f)
	f.from.kick()
}

// kick sends the next chunk if the line is idle.
func (s *sender) kick() {
	for !s.busy && len(s.ready) > 0 {
		f := s.ready[0]
		s.ready = s.ready[1:]
		if f.stopped {
			continue
		}
		now := s.w.now
		n := min(f.chunk, f.left)
		sent := s.up.pass(now, n)
		there := sent
		for _, l := range f.via {
			if l != nil {
				there = max(there, l.pass(now, n))
			}
		}
		there = max(there, f.down.pass(now, n))
		if f.cap > 0 {
			there = max(there, now+int64(float64(n)/f.cap))
		}
		f.moving = n
		s.busy = true
		s.w.events.push(sent, s, 0)
		s.w.events.push(there, f, 0)
	}
}

// fire: the line is idle again.
func (s *sender) fire(uint8) {
	s.busy = false
	s.kick()
}

// fire: a chunk has arrived.
func (f *flow) fire(uint8) {
	if f.stopped {
		return
	}
	n := f.moving
	f.left -= n
	if f.left > 0 {
		f.start()
	} else {
		f.stopped = true
	}
	f.sink.arrived(n, f.left)
}
