// Package origin speaks to upstream registries: it resolves tags, and reads
// blobs and manifests, whole or by range. The handshake with a registry, Bearer
// tokens included, is go-containerregistry's; the requests for content are
// made here, because that module reads no ranges. It knows nothing of peers or
// pieces, does not check what it reads against its digest, and keeps nothing
// of it.
//
// Start reading at Origin.Blob and source.go; request.go is the one way out.
package origin

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/time/rate"
)

const (
	// DefaultDialTimeout bounds a TCP connect, and the TLS handshake after
	// it: one lost SYN is sent again after 1 s, a second one after 3.
	DefaultDialTimeout = 3 * time.Second
	// DefaultHeaderTimeout is how long a registry may take to begin an
	// answer. containerd's own patience is 30 s, and an answer may need a
	// handshake first.
	DefaultHeaderTimeout = 10 * time.Second
	// DefaultStallTimeout is how long a body may show no byte; leases have
	// the same patience.
	DefaultStallTimeout = 2 * time.Second

	// idleConnsPerHost is what stays open to one registry: the 16 leases
	// that a host has at most, and a few requests for manifests.
	idleConnsPerHost = 20
	// idleConns is what stays open to all of them, at readBuffer each.
	idleConns       = 128
	idleConnTimeout = 90 * time.Second
	// readBuffer makes one system call of what the throttle lets pass.
	readBuffer = 64 << 10
	// maxHeaderBytes is far above what registries send; the standard
	// library's 10 MiB is far above what we want to hold.
	maxHeaderBytes = 64 << 10
	// streamBuffer bounds what HTTP/2 holds for a slow reader: at most this
	// for each of 16 leases, and enough for 1 Gbit/s over 16 ms.
	streamBuffer = 2 << 20
	// pingAfter is when a silent HTTP/2 connection is suspected: without a
	// ping, one that is dead would take all requests until TCP gives up.
	pingAfter = 5 * time.Second
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
	Download *rate.Limiter
	// UserAgent names us to registries.
	UserAgent string

	DialTimeout   time.Duration // 0 means DefaultDialTimeout
	HeaderTimeout time.Duration // 0 means DefaultHeaderTimeout; bounds a handshake too
	StallTimeout  time.Duration // 0 means DefaultStallTimeout

	Logger *slog.Logger // nil discards
}

// Origin reaches the registries that the operator allows. Methods may be
// called concurrently.
type Origin struct {
	cfg       Config
	endpoints map[string]*url.URL // by Registry.Host in lower case; fixed
	base      *http.Transport
	accesses  *accesses
	stats     counters
}

// New checks the configuration. It opens no connection.
func New(cfg Config) (*Origin, error) {
	setDefaults(&cfg)
	o := &Origin{cfg: cfg, endpoints: make(map[string]*url.URL), accesses: newAccesses(maxAccesses)}
	for _, r := range cfg.Registries {
		u, err := r.endpoint()
		if err != nil {
			return nil, err
		}
		host := strings.ToLower(r.Host)
		if o.endpoints[host] != nil {
			return nil, fmt.Errorf("registry %s is listed twice", host)
		}
		o.endpoints[host] = u
	}
	o.base = &http.Transport{
		DialContext:            (&net.Dialer{Timeout: cfg.DialTimeout}).DialContext,
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true, // where the server offers it; never in clear
		DisableCompression:     true, // also of what the handshake fetches
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConnsPerHost,
		IdleConnTimeout:        idleConnTimeout,
		TLSHandshakeTimeout:    cfg.DialTimeout,
		ResponseHeaderTimeout:  cfg.HeaderTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ReadBufferSize:         readBuffer,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: streamBuffer,
			SendPingTimeout:           pingAfter, PingTimeout: cfg.DialTimeout,
		},
	}
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
	if cfg.Keychain == nil {
		cfg.Keychain = authn.NewMultiKeychain() // of none: everybody is anonymous
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
}

// CloseIdle closes the connections that no request uses. The Origin stays
// usable.
func (o *Origin) CloseIdle() { o.base.CloseIdleConnections() }
