package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// DefaultSocket is where containerd listens if nobody has told it otherwise.
	DefaultSocket = "/run/containerd/containerd.sock"
	// DefaultRoot is containerd's own default, too.
	DefaultRoot = "/var/lib/containerd"
	// AllNamespaces in Config.Namespaces stands for whatever there is.
	AllNamespaces = "*"
	// DefaultHashRate is how many bytes a second are hashed in the background:
	// a node that starts with 50 GB of images is done in seven minutes, with
	// a tenth of a core and of a disk.
	DefaultHashRate = 128 << 20
	// maxBlobs bounds what is remembered, the newest blobs: as many as a peer
	// announces. A proof has 32 bytes a piece, some 8 KiB for a usual layer.
	maxBlobs = 4096
)

// Config says where containerd is. The zero value of a field means its
// default.
type Config struct {
	Socket string
	Root   string
	// Namespaces are those whose content is offered; nil means "k8s.io", the
	// kubelet's.
	Namespaces []string
	// HashRate bounds hashing, in bytes a second.
	HashRate int64

	// Settle is how long a change may wait for more of its kind, Again how
	// long after one the list is asked for once more, Relist how often it is
	// asked for in any case.
	Settle, Again, Relist time.Duration
	// RetryFirst and RetryMost bound the wait between two attempts to reach
	// containerd.
	RetryFirst, RetryMost time.Duration

	// Damaged is told once of each file that is not what its name says, and must
	// not block. Nil: nobody is.
	Damaged func(d piece.Digest, err error)

	Logger *slog.Logger // nil discards
}

func (c Config) withDefaults() Config {
	c.Socket = cmp.Or(c.Socket, DefaultSocket)
	c.Root = cmp.Or(c.Root, DefaultRoot)
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{"k8s.io"}
	}
	c.HashRate = cmp.Or(c.HashRate, DefaultHashRate)
	// A pull writes a blob after the other; a list is needed once for several.
	c.Settle = cmp.Or(c.Settle, 200*time.Millisecond)
	// containerd collects garbage a second or so after what made it, and says
	// nothing of it.
	c.Again = cmp.Or(c.Again, 5*time.Second)
	c.Relist = cmp.Or(c.Relist, time.Minute)
	c.RetryFirst = cmp.Or(c.RetryFirst, 250*time.Millisecond)
	c.RetryMost = cmp.Or(c.RetryMost, 30*time.Second)
	if c.Damaged == nil {
		c.Damaged = func(piece.Digest, error) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Content is what containerd holds, as far as it was proven. Methods may be
// called concurrently.
type Content struct {
	cfg Config
	log *slog.Logger
	// changed has room for one: a file was found to be gone.
	changed chan struct{}
	// using is held while a file is opened by root, and taken before what was root
	// is closed.
	using sync.RWMutex

	mu        sync.Mutex // guards what follows
	root      *os.Root   // of the content store; nil until containerd was reached
	connected bool
	proven    map[piece.Digest]*proof // written by the loop of Run alone
	refused   int
}

// New makes a Content that has nothing until Run is called.
func New(cfg Config) *Content {
	cfg = cfg.withDefaults()
	return &Content{cfg: cfg, log: cfg.Logger, changed: make(chan struct{}, 1), proven: make(map[piece.Digest]*proof)}
}

// Run keeps up with containerd until ctx ends, whether it is there or not,
// and tells swarm and copies what comes and goes.
func (c *Content) Run(ctx context.Context, swarm Swarm, copies Copies) error {
	l := &loop{
		c: c, swarm: swarm, copies: copies,
		listed: make(map[piece.Digest]listing), refused: make(map[piece.Digest]stamp), untold: make(map[piece.Digest]int64),
		lists: make(chan []listing), jobs: make(chan listing), results: make(chan result),
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return c.watch(ctx, l.lists) })
	g.Go(func() error { return c.prove(ctx, l.jobs, l.results) })
	g.Go(func() error { return l.run(ctx) })
	err := g.Wait()
	c.using.Lock()
	defer c.using.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proven, c.connected = make(map[piece.Digest]*proof), false
	if c.root != nil {
		err = errors.Join(err, c.root.Close())
		c.root = nil
	}
	return err
}

// Open returns a blob out of containerd's content. It fails with
// peer.ErrNotHeld if containerd does not have it or it was not proven yet.
func (c *Content) Open(d piece.Digest) (peer.Blob, error) {
	c.mu.Lock()
	p := c.proven[d]
	c.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("open blob %s in containerd: %w", d.Short(), peer.ErrNotHeld)
	}
	b := &blob{c: c, digest: d, proof: p}
	var err error
	if b.file, err = b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// Has reports whether a blob was proven and is not known to have gone since.
func (c *Content) Has(d piece.Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proven[d] != nil
}

// Held lists the proven blobs, the newest first.
func (c *Content) Held() []peer.Held {
	c.mu.Lock()
	defer c.mu.Unlock()
	type aged struct {
		peer.Held
		made time.Time
	}
	all := make([]aged, 0, len(c.proven))
	for d, p := range c.proven {
		all = append(all, aged{peer.Held{Digest: d, Size: p.layout.Size()}, p.made})
	}
	slices.SortFunc(all, func(a, b aged) int { return b.made.Compare(a.made) })
	held := make([]peer.Held, len(all))
	for i, a := range all {
		held[i] = a.Held
	}
	return held
}

// Stats is a snapshot of a Content.
type Stats struct {
	Connected bool  // containerd was reached and its list is current
	Blobs     int   // proven and offered
	Bytes     int64 // of those
	Refused   int   // files that are not what their name says
}

// Stats may be called at any time.
func (c *Content) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{Connected: c.connected, Blobs: len(c.proven), Refused: c.refused}
	for _, p := range c.proven {
		s.Bytes += p.layout.Size()
	}
	return s
}

// lost is told by readers that a proven file is gone or is another.
func (c *Content) lost() {
	select {
	case c.changed <- struct{}{}:
	default: // the loop will look anyway
	}
}
