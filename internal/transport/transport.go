package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/host"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Transport reaches other peers and is reached by them. It implements
// peer.Network.
type Transport struct {
	self   scheduler.Peer
	links  *links
	id     *identity
	server *server
	client *client
	bulk   net.Listener
	count  counters
}

var _ peer.Network = (*Transport)(nil)

// New reads or makes the identity and listens, so that Self is exact. Nothing
// is answered before Run, which also closes everything: a Transport that is
// given up before must be Run with a context that is done.
func New(cfg Config) (*Transport, error) {
	cfg, err := cfg.orDefault()
	if err != nil {
		return nil, err
	}
	key, err := loadIdentity(cfg.KeyFile)
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(key, cfg.Members)
	if err != nil {
		return nil, err
	}
	bulk, err := net.Listen("tcp", cfg.Bulk)
	if err != nil {
		return nil, fmt.Errorf("listen for bulk pieces: %w", err)
	}
	h, self, err := listen(id, cfg)
	if err != nil {
		bulk.Close()
		return nil, err
	}
	t := &Transport{self: self, bulk: bulk, id: id}
	if t.self.Bulk, err = advertisedBulk(cfg, bulk); err != nil {
		bulk.Close()
		h.Close()
		return nil, err
	}
	if !cfg.ClearBulk {
		t.bulk = secure(bulk, id)
	}
	t.links = newLinks(h, cfg, &t.count)
	t.server = newServer(cfg, &t.count)
	t.client = newClient(cfg, h.ID(), id, &t.count)
	return t, nil
}

// listen starts the libp2p host and says how others reach it.
func listen(id *identity, cfg Config) (host.Host, scheduler.Peer, error) {
	self := scheduler.Peer{Zone: cfg.Zone, Rack: cfg.Rack}
	bind, err := listenAddrs(cfg.Listen)
	if err != nil {
		return nil, self, err
	}
	name, err := advertisedHost(cfg.Advertise, cfg.Listen)
	if err != nil {
		return nil, self, err
	}
	announce, err := hostAddr(name, "0")
	if err != nil {
		return nil, self, err
	}
	h, err := newHost(id, cfg, bind, announce)
	if err != nil {
		return nil, self, err
	}
	self.ID = scheduler.PeerID(h.ID().String())
	for _, a := range withPort(announce, h.Network().ListenAddresses()) {
		self.Addrs = append(self.Addrs, a.String())
	}
	return h, self, nil
}

// advertisedBulk is the bulk address that others are told.
func advertisedBulk(cfg Config, bulk net.Listener) (string, error) {
	name, err := advertisedHost(cfg.Advertise, cfg.Bulk)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(bulk.Addr().String())
	if err != nil {
		return "", fmt.Errorf("bulk listener: %w", err)
	}
	return net.JoinHostPort(name, port), nil
}

// Self is what others need to know to reach this peer.
func (t *Transport) Self() scheduler.Peer {
	self := t.self
	self.Addrs = append([]string(nil), self.Addrs...)
	return self
}

// Host is the libp2p host, for internal/discovery. It is closed by Run.
func (t *Transport) Host() host.Host { return t.links.host }

// Run delivers what comes in to h until ctx ends. Then it closes everything
// and returns once all its goroutines have. It is called once.
func (t *Transport) Run(ctx context.Context, h peer.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.links.start(h)
	var sweep sync.WaitGroup
	if t.id.members != Members(everybody{}) {
		sweep.Go(func() { t.links.sweep(ctx, t.id.members) })
	}
	err := t.server.serve(ctx, t.bulk, h)
	cancel()
	sweep.Wait()
	t.client.close()
	if stopErr := t.links.stop(); err == nil && stopErr != nil {
		err = fmt.Errorf("close libp2p host: %w", stopErr)
	}
	return err
}

// Send implements peer.Network.
func (t *Transport) Send(to scheduler.Peer, m peer.Message) { t.links.send(to, m) }

// Fetch implements peer.Network. A body that was not read to its end when it
// is closed, or when ctx ends, costs its connection.
func (t *Transport) Fetch(ctx context.Context, from scheduler.Peer, d piece.Digest, off, n int64) (io.ReadCloser, error) {
	return t.client.fetch(ctx, from, d, off, n)
}

// Stats counts what has been done so far.
func (t *Transport) Stats() Stats {
	s := t.count.stats()
	s.Links = t.links.alive()
	s.Conns = len(t.links.host.Network().Conns())
	return s
}
