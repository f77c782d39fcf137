package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/host"
	libpeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	mh "github.com/multiformats/go-multihash"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// prefix makes this a network of its own: peers of another one speak
	// another protocol, and never meet.
	prefix = "/p2pd"
	// protocol is what kad-dht makes of prefix.
	protocol = prefix + "/kad/1.0.0"
	// recordLife is how long an announcement counts. Peers of a cluster come
	// and go in minutes; who stays announces again.
	recordLife = 15 * time.Minute
	// cleanEvery is how often records that are over are swept out.
	cleanEvery = 5 * time.Minute
	// refreshEvery is how often each bucket of the table is looked after.
	refreshEvery = 5 * time.Minute
	// queryWait bounds one query of the table's own upkeep.
	queryWait = 5 * time.Second
	// maxCalls bounds the announcements and searches of this peer at once.
	maxCalls = 16
)

// Protocols are what others use this host for, so that the host can give each
// a limit.
func Protocols() []string { return []string{protocol, cardProtocol} }

// Config is what a Discovery is made of. Host and Self must be set.
type Config struct {
	// Host is the transport's. It must outlive Run.
	Host host.Host
	// Self is what others are told of this peer.
	Self scheduler.Peer
	// File remembers the peers known last; empty: they are forgotten.
	File string
	// Bootstrap are peers to begin with: multiaddrs, or HOST:PORT where HOST
	// is a name that stands for any number of peers, or an address.
	Bootstrap []string
	Logger    *slog.Logger // nil discards
}

// Discovery is this peer's part of the directory. It implements peer.Directory
// while Run runs.
type Discovery struct {
	cfg   Config
	log   *slog.Logger
	first []bootstrapper
	cards *cards
	calls chan struct{} // one entry a call under way
	store *recordStore
	met   chan []scheduler.Peer // holds one: whom Meet named last

	mu    sync.Mutex    // guards table
	table *dht.IpfsDHT  // nil while Run does not run
	ready chan struct{} // closed once the first others were tried
}

var _ peer.Directory = (*Discovery)(nil)

// errNotRunning says that the directory cannot be asked now.
var errNotRunning = errors.New("discovery is not running")

// New checks the configuration. Run must be called.
func New(cfg Config) (*Discovery, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Discovery{
		cfg: cfg, log: cfg.Logger, cards: newCards(cfg.Host, cfg.Self),
		calls: make(chan struct{}, maxCalls), store: newRecords(maxRecords), ready: make(chan struct{}), met: make(chan []scheduler.Peer, 1),
	}
	for _, s := range cfg.Bootstrap {
		b, err := parseBootstrapper(s)
		if err != nil {
			return nil, err
		}
		d.first = append(d.first, b)
	}
	return d, nil
}

// Run takes part in the directory until ctx ends. It is called once.
func (d *Discovery) Run(ctx context.Context) error {
	table, err := dht.New(d.cfg.Host,
		dht.ProtocolPrefix(prefix),
		dht.Mode(dht.ModeServer), // all are alike, and reach each other
		dht.DisableValues(),      // so that nothing but provider records is ever stored
		dht.ProviderDatastore(d.store),
		dht.ProviderManagerOpts(records.ProvideValidity(recordLife), records.ProviderAddrTTL(recordLife), records.CleanupInterval(cleanEvery)),
		dht.AddressFilter(tcpOnly),
		dht.RoutingTableRefreshPeriod(refreshEvery),
		dht.RoutingTableRefreshQueryTimeout(queryWait),
	)
	if err != nil {
		return fmt.Errorf("start discovery: %w", err)
	}
	d.cards.serve()
	defer d.cards.stop()
	d.mu.Lock()
	d.table = table
	d.mu.Unlock()
	d.upkeep(ctx, table)
	d.mu.Lock()
	d.table = nil
	d.mu.Unlock()
	for range maxCalls { // calls under way end with the context of their caller
		d.calls <- struct{}{}
	}
	if err := table.Close(); err != nil {
		return fmt.Errorf("end discovery: %w", err)
	}
	return nil
}

// begin waits for a place among the calls under way, and for the first others
// to be tried. end must be called if err is nil.
func (d *Discovery) begin(ctx context.Context) (table *dht.IpfsDHT, end func(), err error) {
	select {
	case <-d.ready:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	select {
	case d.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	d.mu.Lock()
	table = d.table
	d.mu.Unlock()
	if table == nil {
		<-d.calls
		return nil, nil, errNotRunning
	}
	return table, func() { <-d.calls }, nil
}

// Announce implements peer.Directory.
func (d *Discovery) Announce(ctx context.Context, k peer.Key) error {
	table, end, err := d.begin(ctx)
	if err != nil {
		return fmt.Errorf("announce %s: %w", k.Digest.Short(), err)
	}
	defer end()
	err = table.Provide(ctx, cidOf(k), true)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil // the search was cut short in time to tell those it had found
	}
	if err != nil {
		return fmt.Errorf("announce %s: %w", k.Digest.Short(), err)
	}
	return nil
}

// Find implements peer.Directory. When ctx ends it names those found so far.
func (d *Discovery) Find(ctx context.Context, k peer.Key, most int) ([]scheduler.Peer, error) {
	table, end, err := d.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", k.Digest.Short(), err)
	}
	defer end()
	self := d.cfg.Host.ID()
	found := make(map[libpeer.ID]libpeer.AddrInfo)
	for p := range table.FindProvidersAsync(ctx, cidOf(k), most+1) {
		if p.ID != self && (len(found) < most || found[p.ID].ID != "") {
			found[p.ID] = p // the same again brings its addresses
		}
	}
	return d.cards.of(ctx, found), nil
}

// Stats are gauges.
type Stats struct {
	Peers   int // in the routing table
	Records int // held for others
}

// Stats returns what is known now.
func (d *Discovery) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.table == nil {
		return Stats{}
	}
	return Stats{Peers: d.table.RoutingTable().Size(), Records: d.store.count()}
}

// cidOf is the name of a key in the table. It tells nobody the digest.
func cidOf(k peer.Key) cid.Cid {
	kind := "blob"
	if k.Image {
		kind = "image"
	}
	sum := piece.Sum([]byte("p2pd " + kind + " " + k.Digest.Hex()))
	hash, err := mh.Encode(sum[:], mh.SHA2_256)
	if err != nil {
		panic(err) // 32 bytes are a SHA-256
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// tcpOnly leaves out what nobody here would dial.
func tcpOnly(addrs []ma.Multiaddr) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, a := range addrs {
		if len(out) < maxAddrs && plainTCP(a) {
			out = append(out, a)
		}
	}
	return out
}
