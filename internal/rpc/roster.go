package rpc

import (
	"slices"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// nameKey is the header in which a scheduler says what it is called.
const nameKey = "p2pd-scheduler"

// SetRoster tells all peers, and those that come, which schedulers are up. One
// that does not name itself is about to stop: peers take their swarms to the
// others first.
func (s *Server) SetRoster(names []string, reason string) {
	names = slices.Clone(names)
	s.do(func() {
		s.roster = scheduler.Roster{Self: s.cfg.Name, Names: names, Reason: reason}
		all := make([]scheduler.Decision, 0, len(s.streams))
		for id := range s.streams {
			all = append(all, rosterFor(id, s.roster))
		}
		s.tell(all)
	})
}

func rosterFor(to scheduler.PeerID, r scheduler.Roster) scheduler.Decision {
	r.To = to
	return r
}

// acquainted is how many peers one that comes is told of. Each is told of those
// before it, so that all hang together by them.
const acquainted = 3

// acquaint tells a peer of those that came before it.
func (s *Server) acquaint(p scheduler.Peer) {
	s.lately = slices.DeleteFunc(s.lately, func(o scheduler.Peer) bool { return o.ID == p.ID || s.streams[o.ID] == nil })
	if len(s.lately) > 0 {
		s.tell([]scheduler.Decision{scheduler.Acquaint{To: p.ID, Peers: slices.Clone(s.lately), Reason: "they came before it"}})
	}
	if s.lately = append(s.lately, p); len(s.lately) > acquainted {
		s.lately = slices.Delete(s.lately, 0, 1)
	}
}
