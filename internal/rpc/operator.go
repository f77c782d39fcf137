package rpc

import (
	"context"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Ban closes all swarms to a peer; see scheduler.BanPeer.
func (s *Server) Ban(ctx context.Context, b scheduler.BanPeer) error {
	return s.Inspect(ctx, func(Core) { s.step(b) })
}

// Unban ends a ban. The peer's stream ends with it, if it has one: it opens
// another one and announces all that it has.
func (s *Server) Unban(ctx context.Context, p scheduler.PeerID) error {
	return s.Inspect(ctx, func(Core) {
		s.step(scheduler.UnbanPeer{Peer: p})
		if st := s.streams[p]; st != nil {
			s.drop(st)
		}
	})
}
