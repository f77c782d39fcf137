package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A provider record names a peer and where its libp2p host is. Where it serves
// pieces, and in which zone, it tells whoever opens a stream: its card.
const (
	cardProtocol = "/p2pd/card/1.0.0"
	// cardWait bounds one exchange, the dial included.
	cardWait = time.Second
	// cardLife is how long a card counts, and no longer than the connection is
	// there: a peer moves when it restarts.
	cardLife = 5 * time.Minute
	// maxCard bounds a card's bytes: maxAddrs addresses and three names.
	maxCard = 4 << 10
	// maxCards bounds the cards that are kept, at half a KiB each.
	maxCards = 4 << 10
	// maxAsked is how many are asked in one search: three times as many as
	// become neighbours.
	maxAsked = 48
	// maxAddrs and maxName bound what a card says, as in an offer.
	maxAddrs = 8
	maxName  = 255
)

// card is JSON on the wire.
type card struct {
	Addrs []string `json:"addrs"`
	Bulk  string   `json:"bulk"`
	Zone  string   `json:"zone,omitempty"`
	Rack  string   `json:"rack,omitempty"`
}

// parseCard reads what a peer tells of itself.
func parseCard(b []byte) (card, error) {
	var c card
	if len(b) > maxCard {
		return card{}, fmt.Errorf("card is longer than %d bytes", maxCard)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return card{}, fmt.Errorf("read card: %w", err)
	}
	if len(c.Addrs) > maxAddrs {
		return card{}, fmt.Errorf("card has %d addresses", len(c.Addrs))
	}
	for _, a := range c.Addrs {
		m, err := ma.NewMultiaddr(a)
		if err != nil || len(a) > maxName || !plainTCP(m) {
			return card{}, fmt.Errorf("card has the address %.80q", a)
		}
	}
	if host, port, err := net.SplitHostPort(c.Bulk); err != nil || host == "" || port == "" || len(c.Bulk) > maxName {
		return card{}, fmt.Errorf("card has the bulk address %.80q", c.Bulk)
	}
	if len(c.Zone) > maxName || len(c.Rack) > maxName {
		return card{}, errors.New("card has a zone or rack that is too long")
	}
	return c, nil
}

// peer is who the card is of.
func (c card) peer(id libpeer.ID) scheduler.Peer {
	return scheduler.Peer{ID: scheduler.PeerID(id.String()), Addrs: c.Addrs, Bulk: c.Bulk, Zone: c.Zone, Rack: c.Rack}
}

func plainTCP(a ma.Multiaddr) bool {
	protos := a.Protocols()
	if len(protos) != 2 || protos[1].Code != ma.P_TCP {
		return false
	}
	switch protos[0].Code {
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return true
	case ma.P_IP4, ma.P_IP6:
		return !manet.IsIPUnspecified(a)
	}
	return false
}

// cards are this peer's own and those of others.
type cards struct {
	host host.Host
	own  []byte

	mu     sync.Mutex // guards others
	others map[libpeer.ID]dated
}

type dated struct {
	card card
	at   time.Time
}

func newCards(h host.Host, self scheduler.Peer) *cards {
	own, err := json.Marshal(card{Addrs: self.Addrs, Bulk: self.Bulk, Zone: self.Zone, Rack: self.Rack})
	if err != nil {
		panic(err) // strings always marshal
	}
	return &cards{host: h, own: own, others: make(map[libpeer.ID]dated)}
}

// serve answers who asks for this peer's card, until stop.
func (c *cards) serve() {
	c.host.SetStreamHandler(cardProtocol, func(s network.Stream) {
		_ = s.SetDeadline(time.Now().Add(cardWait))
		_, err := s.Write(c.own)
		if err != nil || s.Close() != nil {
			_ = s.Reset()
		}
	})
}

func (c *cards) stop() { c.host.RemoveStreamHandler(cardProtocol) }

// of are the peers that were found, with their cards as far as those are known
// or tell themselves in time. Who refuses to be asked is left out.
func (c *cards) of(ctx context.Context, found map[libpeer.ID]libpeer.AddrInfo) []scheduler.Peer {
	var peers []scheduler.Peer
	var ask []libpeer.AddrInfo
	for id, info := range found {
		if kept, ok := c.kept(id); ok {
			peers = append(peers, kept.peer(id))
		} else {
			ask = append(ask, info)
		}
	}
	asked := ask[:min(len(ask), maxAsked)] // in the map's random order
	for _, info := range ask[len(asked):] {
		peers = append(peers, bare(info))
	}
	return append(peers, c.askAll(ctx, asked)...)
}

// bare is a peer of which no more than the addresses are known.
func bare(info libpeer.AddrInfo) scheduler.Peer {
	p := scheduler.Peer{ID: scheduler.PeerID(info.ID.String())}
	for _, a := range tcpOnly(info.Addrs) {
		p.Addrs = append(p.Addrs, a.String())
	}
	return p
}

func (c *cards) askAll(ctx context.Context, infos []libpeer.AddrInfo) []scheduler.Peer {
	answers := make([]scheduler.Peer, len(infos))
	var wg sync.WaitGroup
	for i, info := range infos {
		wg.Go(func() {
			asked, err := c.ask(ctx, info)
			switch {
			case err == nil:
				answers[i] = asked.peer(info.ID)
			case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
				answers[i] = bare(info) // slow is not gone
			}
		})
	}
	wg.Wait()
	return slices.DeleteFunc(answers, func(p scheduler.Peer) bool { return p.ID == "" })
}

// ask fetches one peer's card.
func (c *cards) ask(ctx context.Context, info libpeer.AddrInfo) (card, error) {
	ctx, cancel := context.WithTimeout(ctx, cardWait)
	defer cancel()
	c.host.Peerstore().AddAddrs(info.ID, tcpOnly(info.Addrs), peerstore.TempAddrTTL)
	s, err := c.host.NewStream(ctx, info.ID, cardProtocol)
	if err != nil {
		return card{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	b, err := io.ReadAll(io.LimitReader(s, maxCard+1))
	if ctx.Err() != nil {
		return card{}, ctx.Err()
	}
	if err != nil {
		_ = s.Reset()
		return card{}, err
	}
	_ = s.Close()
	got, err := parseCard(b)
	if err != nil {
		return card{}, err
	}
	c.keep(info.ID, got)
	return got, nil
}

func (c *cards) kept(id libpeer.ID) (card, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.others[id]
	return k.card, ok && time.Since(k.at) < cardLife && c.host.Network().Connectedness(id) == network.Connected
}

// keep remembers a card. When there are too many, all are asked anew: that is
// rarer than sorting them by age is worth.
func (c *cards) keep(id libpeer.ID, k card) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.others) >= maxCards {
		clear(c.others)
	}
	c.others[id] = dated{k, time.Now()}
}
