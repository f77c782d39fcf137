package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// One goroutine owns the core and the set of streams. Everybody else hands it
// functions through the inbox; what is below loop runs only there.

// errStopped says that the loop has ended.
var errStopped = errors.New("scheduler has stopped")

// do runs f in the loop, some time after it returns; false once the server
// has ended. It waits while the inbox is full: that is the back-pressure on
// the streams' readers.
func (s *Server) do(f func()) bool {
	select {
	case s.inbox <- f:
		return true
	case <-s.ended:
		return false
	}
}

// behind reports whether so much waits for the loop that what can be left out should
// be: else those who wait for an answer would wait for it, too, and its streams would
// be read no further, so that their peers had no answer to a beat either.
func (s *Server) behind() bool { return len(s.inbox) > cap(s.inbox)/2 }

// Inspect runs f in the loop, where it may look at the core. If it fails
// because ctx has ended, f may still run later.
func (s *Server) Inspect(ctx context.Context, f func(Core)) error {
	done := make(chan struct{})
	select {
	case s.inbox <- func() { f(s.cfg.Core); close(done) }:
	case <-s.ended:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-s.ended:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// loop runs until ctx ends.
func (s *Server) loop(ctx context.Context) {
	tick := time.NewTicker(scheduler.TickEvery)
	defer tick.Stop()
	for {
		select {
		case f := <-s.inbox:
			f()
		case <-tick.C:
			s.step(scheduler.Tick{})
		case <-ctx.Done():
			return
		}
	}
}

// step lets the core decide and passes on what it decided. Peers found not to
// read are reported down only after that: what follows from their departure
// must come after what was decided before it.
func (s *Server) step(e scheduler.Event) {
	s.tell(s.cfg.Core.Step(time.Now(), e))
}

// tell passes on decisions, and has the core decide about those who turn out
// not to read.
func (s *Server) tell(ds []scheduler.Decision) {
	s.route(ds)
	for len(s.slow) > 0 {
		gone := s.slow[0]
		s.slow = s.slow[1:]
		s.route(s.cfg.Core.Step(time.Now(), scheduler.PeerDown{Peer: gone}))
	}
	s.slow = nil
}

// route queues decisions for their peers. Those without a stream have none.
func (s *Server) route(ds []scheduler.Decision) {
	verbose := s.log.Enabled(context.Background(), slog.LevelDebug)
	for _, d := range ds {
		if e, ok := d.(scheduler.Expel); ok {
			s.expel(e)
			continue
		}
		st := s.streams[d.Recipient()]
		if st == nil {
			continue
		}
		if verbose {
			s.log.Debug("decided", "peer", d.Recipient(), "decision", fmt.Sprintf("%T", d), "reason", d.Why())
		}
		if st.out.put(d, nil) {
			continue
		}
		s.overflows.Add(1)
		s.log.Warn("peer does not read its decisions; its stream is closed", "peer", st.peer.ID)
		s.end(st)
		s.slow = append(s.slow, st.peer.ID)
	}
}

// stepFrom steps if st is still its peer's stream. What still comes from one
// that has been dropped or replaced is not heard: it would be taken for the
// word of its successor.
func (s *Server) stepFrom(st *stream, e scheduler.Event) {
	if s.streams[st.peer.ID] == st {
		s.step(e)
	}
}

// admit makes st the stream of its peer. An older one ends, and its leases
// with it.
func (s *Server) admit(st *stream) {
	id := st.peer.ID
	if old := s.streams[id]; old != nil {
		s.end(old)
		s.step(scheduler.PeerDown{Peer: id})
	}
	s.streams[id] = st
	s.connected.Add(1)
	if s.roster.Self != "" {
		s.tell([]scheduler.Decision{rosterFor(id, s.roster)})
	}
	s.step(scheduler.PeerUp{Peer: st.peer})
	s.acquaint(st.peer)
}

// drop takes st away if it is still its peer's stream.
func (s *Server) drop(st *stream) {
	if s.streams[st.peer.ID] == st {
		s.end(st)
		s.step(scheduler.PeerDown{Peer: st.peer.ID})
	}
}

// end closes a stream that is its peer's, and forgets it. The core is not
// told.
func (s *Server) end(st *stream) {
	delete(s.streams, st.peer.ID)
	close(st.quit)
	s.connected.Add(-1)
}
