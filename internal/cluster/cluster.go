// Package cluster lets the schedulers of one cluster find each other and notice
// who is up, by gossip (memberlist: SWIM with Lifeguard's additions) that is
// encrypted with a key of the cluster's. Beside that they share news: what one
// is told that all must know. There is no leader, and no state that they would have
// to agree on. Which swarm is whose follows from who is up (scheduler.Owner).
//
// It does not know peers, swarms or gRPC.
//
// Start reading at Cluster.Run.
package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// seekEvery is how often seeds are asked that are not known to be up. It
	// also mends a cluster that a partition has cut in two.
	seekEvery = 5 * time.Second
	// resolveWait bounds one look at a seed's name.
	resolveWait = 2 * time.Second
	// leaveWait is how long the others may take to hear that this one goes.
	leaveWait = time.Second
	// pushPull is how often news is exchanged with one of the others.
	pushPull = 10 * time.Second
	// maxName bounds a scheduler's name: memberlist's metadata have 512 bytes.
	maxName = 260
	// maxSchedulers bounds what is told to peers.
	maxSchedulers = 64
)

// Config is what a Cluster is made of. Name, Listen and Key must be set.
type Config struct {
	// Name is HOST:PORT where peers reach this scheduler. It should stay the
	// same when the scheduler is started again.
	Name string
	// Listen is IP:PORT for gossip, over TCP and UDP. Port 0 takes any.
	Listen string
	// Advertise is IP:PORT where the others reach Listen; empty: memberlist
	// finds an address of this machine.
	Advertise string
	// Seeds are HOST:PORT of others' gossip. A name may stand for several.
	Seeds []string
	// Key encrypts the gossip: 32 bytes, the same on all.
	Key []byte
	// News is what this scheduler knows that the others should: all of it for one
	// that came or came back, and each pushPull to another one, by chance, what must
	// not be missed. Heard takes what another one said, by News or by Tell. They are
	// called from any goroutine and do not block for long. Both may be nil.
	News  func(came bool) []byte
	Heard func([]byte)
	// Logger may be nil.
	Logger *slog.Logger
}

// Cluster is one scheduler's view of all.
type Cluster struct {
	cfg     Config
	log     *slog.Logger
	list    *memberlist.Memberlist
	changed chan struct{} // holds a token when who is up has changed

	mu sync.Mutex        // guards what follows
	up map[string]string // names by memberlist's own, which are new with each start
	// gone are the names of those that were up and are not.
	gone map[string]struct{}
}

// Stats are how many schedulers are known.
type Stats struct {
	Alive int // that are up, this one among them
	Gone  int // that were up and are not, since this one was started
}

// Stats counts.
func (c *Cluster) Stats() Stats {
	alive := len(c.names())
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Alive: alive, Gone: len(c.gone)}
}

// New listens. Run must be called.
func New(cfg Config) (*Cluster, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Name) == 0 || len(cfg.Name) > maxName {
		return nil, fmt.Errorf("a scheduler's name has 1 to %d bytes, not %d", maxName, len(cfg.Name))
	}
	c := &Cluster{cfg: cfg, log: cfg.Logger, changed: make(chan struct{}, 1), up: make(map[string]string), gone: make(map[string]struct{})}
	mc, err := c.memberlist()
	if err != nil {
		return nil, err
	}
	if c.list, err = memberlist.Create(mc); err != nil {
		return nil, fmt.Errorf("listen for other schedulers on %s: %w", cfg.Listen, err)
	}
	return c, nil
}

func (c *Cluster) memberlist() (*memberlist.Config, error) {
	mc := memberlist.DefaultLANConfig()
	var err error
	if mc.BindAddr, mc.BindPort, err = split(c.cfg.Listen); err != nil {
		return nil, err
	}
	mc.AdvertisePort = mc.BindPort
	if c.cfg.Advertise != "" {
		if mc.AdvertiseAddr, mc.AdvertisePort, err = split(c.cfg.Advertise); err != nil {
			return nil, err
		}
	}
	// A scheduler that comes back may have another address, and is not to be
	// taken for an impostor of the one that it was.
	mc.Name = c.cfg.Name + "#" + rand.Text()[:8]
	mc.SecretKey = c.cfg.Key
	mc.GossipVerifyIncoming, mc.GossipVerifyOutgoing = true, true
	mc.Delegate, mc.Events = delegate{c}, events{c}
	// memberlist has its levels in the text. What matters to operators, Run says.
	mc.Logger = slog.NewLogLogger(c.log.Handler(), slog.LevelDebug)
	// Some few members: one that is silent is known to be dead after 3 s or so.
	mc.ProbeInterval, mc.ProbeTimeout = 500*time.Millisecond, 250*time.Millisecond
	mc.PushPullInterval = pushPull
	mc.TCPTimeout = 5 * time.Second // longer than it takes to notice that one is dead
	return mc, nil
}

func split(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}

// Tell has all schedulers that are up hear something, each once, but for those
// that cannot be reached now: they ask for News when they come back.
func (c *Cluster) Tell(news []byte) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, m := range c.list.Members() {
		if m.Name == c.list.LocalNode().Name {
			continue
		}
		wg.Go(func() { // one that is dead holds up no other
			if err := c.list.SendReliable(m, news); err != nil {
				c.log.Warn("a scheduler was not told", "scheduler", string(m.Meta), "err", err)
			}
		})
	}
}

// Addr is where others reach this one's gossip.
func (c *Cluster) Addr() string { return c.list.LocalNode().Address() }

// Run keeps in touch with the others until ctx ends, and tells the names of
// those that are up whenever they change, this one's among them. When ctx ends
// it says goodbye to them. told is called from one goroutine.
func (c *Cluster) Run(ctx context.Context, told func(names []string)) error {
	var last []string
	tell := func() {
		if names := c.names(); !slices.Equal(names, last) {
			last = names
			c.log.Info("schedulers that are up", "names", names)
			told(names)
		}
	}
	seek := time.NewTicker(seekEvery)
	defer seek.Stop()
	tell()
	c.seek(ctx)
	for {
		select {
		case <-c.changed:
			tell()
		case <-seek.C:
			c.seek(ctx)
		case <-ctx.Done():
			err := c.list.Leave(leaveWait)
			if err != nil { // nobody was there to hear it
				c.log.Debug("the other schedulers were not told goodbye", "err", err)
			}
			return c.list.Shutdown()
		}
	}
}

// names are those that are up, sorted.
func (c *Cluster) names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := []string{c.cfg.Name}
	for _, n := range c.up {
		names = append(names, n)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names[:min(len(names), maxSchedulers)]
}

// seek speaks to seeds that are not known to be up.
func (c *Cluster) seek(ctx context.Context) {
	known := map[string]bool{}
	for _, m := range c.list.Members() {
		known[m.Address()] = true
	}
	for _, seed := range c.cfg.Seeds {
		addresses, err := resolve(ctx, seed)
		if err != nil {
			c.log.Debug("seed has no address", "seed", seed, "err", err)
			continue
		}
		for _, a := range addresses {
			if known[a] {
				continue
			}
			if _, err := c.list.Join([]string{a}); err != nil && ctx.Err() == nil {
				c.log.Debug("seed does not answer", "seed", seed, "address", a, "err", err)
			}
		}
	}
}

// resolve is where a seed can be.
func resolve(ctx context.Context, seed string) ([]string, error) {
	host, port, err := net.SplitHostPort(seed)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveWait)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, ip := range ips {
		all = append(all, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return all, nil
}

// CheckSeed says what is wrong with an entry of Config.Seeds.
func CheckSeed(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return errors.New("want HOST:PORT")
	}
	return nil
}
