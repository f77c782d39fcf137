// Package origin speaks to upstream registries: it resolves tags, and reads
// blobs and manifests, whole or by range, with the node's own right or with a
// caller's. It knows nothing of peers or pieces, does not check what it reads
// against its digest, keeps nothing of it, and decides nobody's access: it says
// what a registry answered. Connections are internal/egress's.
//
// Start reading at Origin.Blob and source.go; request.go is the one way to a
// registry, handshake.go what comes before with the node's right, caller.go
// how to ask with somebody else's.
package origin

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/internal/throttle"
)

const (
	// DefaultDialTimeout bounds a TCP connect, and the TLS handshake after it.
	DefaultDialTimeout = egress.DefaultDialTimeout
	// DefaultHeaderTimeout is how long a registry may take to begin an
	// answer. containerd's own patience is 30 s, and an answer may need a
	// handshake first.
	DefaultHeaderTimeout = egress.DefaultHeaderTimeout
	// DefaultStallTimeout is how long a body may show no byte; leases have
	// the same patience.
	DefaultStallTimeout = 2 * time.Second
)

// Config is what an Origin is made of. The zero value allows no registry.
type Config struct {
	Registries []Registry
	// AllowAll admits every public registry host besides those listed, by
	// https. Addresses and names of this machine must be listed.
	AllowAll bool
	// Keychain has the credentials; nil means that none are sent. Whoever
	// may call Origin reads with them.
	Keychain authn.Keychain
	// Download limits all bodies together; nil is no limit.
	Download *throttle.Limit
	// UserAgent names us to registries.
	UserAgent string

	DialTimeout   time.Duration // 0 means DefaultDialTimeout
	HeaderTimeout time.Duration // 0 means DefaultHeaderTimeout; bounds a handshake too
	StallTimeout  time.Duration // 0 means DefaultStallTimeout
	SwitchTimeout time.Duration // 0 means DefaultSwitchTimeout

	Logger *slog.Logger // nil discards
}

// Origin reaches the registries that the operator allows. Methods may be
// called concurrently.
type Origin struct {
	cfg       Config
	upstreams egress.Hosts[*upstream] // by upstream.host; fixed
	out       *egress.Client
	wire      *wire
	accesses  *accesses
	tags      *tags
	stats     counters
}

// New checks the configuration, and reads the files that it names. It opens no
// connection.
func New(cfg Config) (*Origin, error) { return newOrigin(cfg, egress.Config{}) }

// newOrigin makes an Origin with a way out that tests may bend.
func newOrigin(cfg Config, out egress.Config) (*Origin, error) {
	setDefaults(&cfg)
	o := &Origin{cfg: cfg, accesses: newAccesses(maxAccesses), tags: newTags(maxTags)}
	for _, r := range cfg.Registries {
		up, wrong := r.check()
		if len(wrong) > 0 {
			return nil, fmt.Errorf("registry %.100q: %w", r.Host, wrong[0])
		}
		if !o.upstreams.Put(up.host, up) {
			return nil, fmt.Errorf("registry %s is listed twice", up.host)
		}
		out.Hosts = append(out.Hosts, r.hosts(up)...)
	}
	out.DialTimeout, out.HeaderTimeout = cfg.DialTimeout, cfg.HeaderTimeout
	var err error
	if o.out, err = egress.New(out); err != nil {
		return nil, fmt.Errorf("registry %w", err)
	}
	o.stats.begin(o.Labels())
	o.wire = &wire{rt: o.out, agent: cfg.UserAgent, stats: &o.stats}
	return o, nil
}

func setDefaults(cfg *Config) {
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = DefaultDialTimeout
	}
	if cfg.HeaderTimeout <= 0 {
		cfg.HeaderTimeout = DefaultHeaderTimeout
	}
	if cfg.StallTimeout <= 0 {
		cfg.StallTimeout = DefaultStallTimeout
	}
	if cfg.SwitchTimeout <= 0 {
		cfg.SwitchTimeout = DefaultSwitchTimeout
	}
	if cfg.Keychain == nil {
		cfg.Keychain = authn.NewMultiKeychain() // of none: everybody is anonymous
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
}

// CloseIdle closes the connections that no request uses. The Origin stays
// usable.
func (o *Origin) CloseIdle() { o.out.CloseIdleConnections() }
