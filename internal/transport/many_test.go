package transport

import (
	"bufio"
	"context"
	"crypto/rand"
	"sync"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Five hundred neighbours behind one address have a link each, both ways, and a
// stream of a guest's protocol beside it, all at the same time: none of
// libp2p's own limits bites. (From its limits by address libp2p exempts
// loopback; TestManyPeersFromOneAddress is about those.)
func TestFiveHundredNeighboursFromOneAddress(t *testing.T) {
	const neighbours, guest = 500, "/guest/1"
	cfg := loopback(t)
	cfg.Limits.Guests = []string{guest}
	n := launch(t, cfg)
	n.Host().SetStreamHandler(guest, func(s network.Stream) { _, _ = s.Write([]byte{1}) }) // and keeps it

	answered := make(chan libpeer.ID, neighbours)
	dial := make(chan struct{}, 4) // a backlog is not what this is about
	var all sync.WaitGroup
	for range neighbours {
		all.Go(func() {
			dial <- struct{}{}
			defer func() { <-dial }()
			h := plainHost(t)
			h.SetStreamHandler(protocolHave, func(s network.Stream) {
				r := frameReader{r: bufio.NewReader(s), begun: func() {}}
				if _, _, err := r.next(); err == nil {
					answered <- h.ID()
				}
			})
			if err := sayBye(h, n.Self(), guest); err != nil {
				t.Errorf("neighbour %s: %v", h.ID(), err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	heard := make(map[scheduler.PeerID]bool)
	for range neighbours {
		heard[await(t, n.received, "message").from] = true
	}
	for id := range heard {
		n.Send(scheduler.Peer{ID: id}, peer.Bye{})
	}
	told := make(map[libpeer.ID]bool)
	for range heard {
		told[await(t, answered, "answer")] = true
	}
	if len(heard) != neighbours || len(told) != neighbours {
		t.Errorf("heard of %d and told %d, want %d", len(heard), len(told), neighbours)
	}
	if s := n.Stats(); s.Links != neighbours || s.Conns != neighbours {
		t.Errorf("%d links on %d connections, want %d", s.Links, s.Conns, neighbours)
	}
}

// plainHost is a libp2p host as a Transport has it, until the test ends.
func plainHost(t *testing.T) host.Host {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Error(err)
	}
	cfg, err := loopback(t).orDefault()
	if err != nil {
		t.Error(err)
	}
	id, err := newIdentity(key, everybody{})
	if err != nil {
		t.Error(err)
	}
	h, err := newHost(id, cfg, nil, ma.StringCast("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// sayBye connects a host to a peer, sends it a message on a link, and reads a
// byte of a guest's stream. Both streams stay open.
func sayBye(h host.Host, to scheduler.Peer, guest string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	info, err := libpeer.AddrInfoFromString(to.Addrs[0] + "/p2p/" + string(to.ID))
	if err != nil {
		return err
	}
	if err := h.Connect(ctx, *info); err != nil {
		return err
	}
	link, err := h.NewStream(ctx, info.ID, protocolHave)
	if err != nil {
		return err
	}
	frame, err := appendMessage(nil, peer.Bye{Digest: piece.Sum([]byte(h.ID()))})
	if err != nil {
		return err
	}
	if _, err := link.Write(frame); err != nil {
		return err
	}
	s, err := h.NewStream(ctx, info.ID, protocol.ID(guest))
	if err != nil {
		return err
	}
	_, err = s.Read(make([]byte, 1))
	return err
}
