package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/crypto"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// upkeepEvery is how often it is looked whether there are enough others.
	upkeepEvery = 5 * time.Second
	// fewPeers in the table is when those known from before are tried again,
	// rarely: a cluster may have no more. Nobody in it is when they are tried
	// each time. (The table is filled by whoever connects, so it grows.)
	fewPeers  = 4
	fewRarely = time.Minute
	// somePeers is up to when others are asked for more each time, in the first
	// minute: many start at once, and did not know of each other yet.
	somePeers = 20
	// tableWait bounds the time from a connection to a place in the table, and
	// tableLook is how often that is looked for.
	tableWait = time.Second
	tableLook = 10 * time.Millisecond
	// saveEvery is how often those known are saved.
	saveEvery = time.Minute
	// greetWait bounds one attempt to connect, and nameWait a look-up.
	greetWait = 2 * time.Second
	nameWait  = 2 * time.Second
	// maxGreeted is how many are tried at once, and maxPerName how many
	// addresses of one name, drawn at random: one that lives leads to all.
	maxGreeted = 16
	maxPerName = 16
	// firstWait bounds the first attempt: so long downloads wait for it.
	firstWait = 3 * time.Second
)

// bootstrapper is a peer to begin with, or a name that leads to some.
type bootstrapper struct {
	info       *libpeer.AddrInfo // nil: host and port
	host, port string
}

// parseBootstrapper reads an entry of the configuration.
func parseBootstrapper(s string) (bootstrapper, error) {
	if len(s) > 0 && s[0] == '/' {
		info, err := parseAddr(s)
		if err != nil {
			return bootstrapper{}, fmt.Errorf("bootstrap peer %w", err)
		}
		return bootstrapper{info: &info}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return bootstrapper{}, fmt.Errorf("bootstrap peer %.80q is neither /ip4/…/tcp/…/p2p/… nor HOST:PORT", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return bootstrapper{}, fmt.Errorf("bootstrap peer %.80q has no port from 1 to 65535", s)
	}
	return bootstrapper{host: host, port: port}, nil
}

// CheckBootstrap says what is wrong with an entry of Config.Bootstrap.
func CheckBootstrap(s string) error {
	_, err := parseBootstrapper(s)
	return err
}

// upkeep keeps the table filled and the file of known peers true, until ctx
// ends.
func (d *Discovery) upkeep(ctx context.Context, table *dht.IpfsDHT) {
	known, err := loadKnown(d.cfg.File)
	if err != nil {
		d.log.Warn("peers known before are not tried", "err", err)
	}
	first, cancel := context.WithTimeout(ctx, firstWait)
	d.fill(first, table, known)
	cancel()
	close(d.ready)
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	began, saved, filled := time.Now(), time.Now(), time.Now()
	for {
		select {
		case <-tick.C:
			if size := table.RoutingTable().Size(); size == 0 || size < fewPeers && time.Since(filled) > fewRarely {
				d.fill(ctx, table, known)
				filled = time.Now()
			} else if size < somePeers && time.Since(began) < fewRarely {
				d.look(ctx, table)
			}
			d.trim()
			if time.Since(saved) > saveEvery {
				known, saved = d.save(table, known), time.Now()
			}
		case peers := <-d.met:
			if table.RoutingTable().Size() < fewPeers {
				d.fill(ctx, table, addrInfos(peers))
			}
		case <-ctx.Done():
			d.save(table, known)
			return
		}
	}
}

// Meet names peers to begin with, for a table that has few. It does not block.
func (d *Discovery) Meet(peers []scheduler.Peer) {
	select {
	case d.met <- peers:
	default: // others are being met
	}
}

// addrInfos are peers as libp2p has them, without those that cannot be.
func addrInfos(peers []scheduler.Peer) (infos []libpeer.AddrInfo) {
	for _, p := range peers {
		for _, a := range p.Addrs {
			if info, err := parseAddr(a + "/p2p/" + string(p.ID)); err == nil {
				infos = append(infos, info)
			}
		}
	}
	return infos
}

// fill tries those known from before and those configured.
func (d *Discovery) fill(ctx context.Context, table *dht.IpfsDHT, known []libpeer.AddrInfo) {
	slots := make(chan struct{}, maxGreeted)
	var wg sync.WaitGroup
	try := func(f func(context.Context) error) {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, greetWait)
			defer cancel()
			if err := f(ctx); err != nil && ctx.Err() == nil {
				d.log.Debug("no peer there to begin with", "err", err)
			}
		})
	}
	for _, info := range known {
		try(func(ctx context.Context) error { return d.greet(ctx, info) })
	}
	for _, b := range d.first {
		if b.info != nil {
			try(func(ctx context.Context) error { return d.greet(ctx, *b.info) })
			continue
		}
		for _, a := range d.resolve(ctx, b) {
			try(func(ctx context.Context) error { return d.meet(ctx, a) })
		}
	}
	wg.Wait()
	if len(known)+len(d.first) > 0 {
		d.look(ctx, table)
	}
}

// look asks whoever is in the table for more, so that those it tells of are in
// the table, too. Who has just been connected to is waited for.
func (d *Discovery) look(ctx context.Context, table *dht.IpfsDHT) {
	in, cancel := context.WithTimeout(ctx, tableWait)
	defer cancel()
	tick := time.NewTicker(tableLook)
	defer tick.Stop()
	for table.RoutingTable().Size() == 0 {
		select {
		case <-tick.C:
		case <-in.Done():
			return // nobody is there
		}
	}
	select {
	case err := <-table.RefreshRoutingTable():
		if err != nil {
			d.log.Debug("look after the table", "err", err)
		}
	case <-ctx.Done():
	}
}

// greet connects to a peer; that it speaks the protocol, identify tells.
func (d *Discovery) greet(ctx context.Context, info libpeer.AddrInfo) error {
	if info.ID == d.cfg.Host.ID() {
		return nil
	}
	d.cfg.Host.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.TempAddrTTL)
	if err := d.cfg.Host.Connect(ctx, info); err != nil {
		return fmt.Errorf("connect to %s: %w", info.ID, err)
	}
	return nil
}

// meet connects to whoever is at an address. The handshake needs a name to
// expect, so it is told a wrong one first, and says the right one.
func (d *Discovery) meet(ctx context.Context, at ma.Multiaddr) error {
	_, pub, err := crypto.GenerateEd25519Key(nil)
	if err != nil {
		return fmt.Errorf("meet %s: %w", at, err)
	}
	nobody, err := libpeer.IDFromPublicKey(pub)
	if err != nil {
		return fmt.Errorf("meet %s: %w", at, err)
	}
	defer d.cfg.Host.Peerstore().ClearAddrs(nobody)
	err = d.cfg.Host.Connect(ctx, libpeer.AddrInfo{ID: nobody, Addrs: []ma.Multiaddr{at}})
	var other sec.ErrPeerIDMismatch
	if !errors.As(err, &other) {
		return fmt.Errorf("meet %s: %w", at, err)
	}
	return d.greet(ctx, libpeer.AddrInfo{ID: other.Actual, Addrs: []ma.Multiaddr{at}})
}

// resolve is where a name's peers are.
func (d *Discovery) resolve(ctx context.Context, b bootstrapper) []ma.Multiaddr {
	ctx, cancel := context.WithTimeout(ctx, nameWait)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", b.host)
	if err != nil {
		d.log.Debug("bootstrap name is not known", "name", b.host, "err", err)
		return nil
	}
	rand.Shuffle(len(ips), func(i, j int) { ips[i], ips[j] = ips[j], ips[i] })
	var at []ma.Multiaddr
	for _, ip := range ips[:min(len(ips), maxPerName)] {
		family := "ip6"
		if ip = ip.Unmap(); ip.Is4() {
			family = "ip4"
		}
		if a, err := ma.NewMultiaddr("/" + family + "/" + ip.WithZone("").String() + "/tcp/" + b.port); err == nil {
			at = append(at, a)
		}
	}
	return at
}

// save remembers who is in the table, or if nobody is, those known before. It
// returns who is remembered.
func (d *Discovery) save(table *dht.IpfsDHT, known []libpeer.AddrInfo) []libpeer.AddrInfo {
	var now []libpeer.AddrInfo
	for _, id := range table.RoutingTable().ListPeers() {
		if addrs := tcpOnly(d.cfg.Host.Peerstore().Addrs(id)); len(addrs) > 0 && len(now) < maxKnown {
			now = append(now, libpeer.AddrInfo{ID: id, Addrs: addrs})
		}
	}
	if len(now) == 0 {
		return known
	}
	if d.cfg.File != "" {
		if err := saveKnown(d.cfg.File, now); err != nil {
			d.log.Warn("peers known now are not remembered", "err", err)
		}
	}
	return now
}
