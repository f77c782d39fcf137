package rpc

import (
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A ban reaches the brain; its end has the peer come back, so that it
// announces what it has.
func TestBanAndUnban(t *testing.T) {
	c := newCore()
	s, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: c})
	h, _, _ := dial(t, addr, "a")
	next(t, "stream", h.attached)
	expect[scheduler.PeerUp](t, c)
	ban := scheduler.BanPeer{Peer: "a", For: time.Hour, Reason: "test"}
	if err := s.Ban(t.Context(), ban); err != nil {
		t.Fatal(err)
	}
	if got := expect[scheduler.BanPeer](t, c); got != ban {
		t.Errorf("the brain heard of %+v", got)
	}
	if err := s.Unban(t.Context(), scheduler.UnbanPeer{Peer: "a"}); err != nil {
		t.Fatal(err)
	}
	expect[scheduler.UnbanPeer](t, c)
	expect[scheduler.PeerDown](t, c)
	next(t, "end of the stream", h.detached)
	next(t, "second stream", h.attached)
	expect[scheduler.PeerUp](t, c)
	if err := s.Unban(t.Context(), scheduler.UnbanPeer{Peer: "stranger"}); err != nil {
		t.Errorf("unban a peer that is not there: %v", err)
	}
}
