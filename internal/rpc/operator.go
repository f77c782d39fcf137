package rpc

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Ban closes all swarms to a peer; see scheduler.BanPeer. Where there is a Guard,
// which must know of the ban by now, the peer's stream ends: it does not get in again
// while the ban lasts.
func (s *Server) Ban(ctx context.Context, b scheduler.BanPeer) error {
	return s.Inspect(ctx, func(Core) {
		s.step(b)
		if st := s.streams[b.Peer]; st != nil && s.cfg.Guard != nil {
			st.why = banned(b.Reason)
			s.drop(st)
		}
	})
}

// banned is what a peer is told that is put out.
func banned(reason string) error {
	return status.Errorf(codes.PermissionDenied, "%v: %s", member.ErrBanned, reason)
}

// Unban ends a ban. The peer's stream ends with it, if it has one: it opens
// another one and announces all that it has.
func (s *Server) Unban(ctx context.Context, u scheduler.UnbanPeer) error {
	return s.Inspect(ctx, func(Core) {
		s.step(u)
		if st := s.streams[u.Peer]; st != nil {
			s.drop(st)
		}
	})
}

// expel puts out whom members blame. It runs in the loop, in the middle of what the
// core has decided: what follows from the end of the stream comes after that.
func (s *Server) expel(e scheduler.Expel) {
	if s.cfg.Expel != nil {
		s.cfg.Expel(e)
	}
	if st := s.streams[e.Peer]; st != nil && s.cfg.Guard != nil {
		st.why = banned(e.Reason)
		s.end(st)
		s.slow = append(s.slow, e.Peer)
	}
}
