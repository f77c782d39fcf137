// Package origin speaks to upstream registries: it resolves tags, and reads
// blobs and manifests, whole or by range. Anonymous Bearer tokens and the rest
// of the registry handshake are go-containerregistry's. It knows nothing of
// peers, and keeps nothing of what it reads.
//
// Start reading at Origin.Blob and source.go.
package origin

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/time/rate"
)

const (
	dialTimeout = 3 * time.Second
	// headerTimeout is how long a registry may take to begin an answer.
	headerTimeout = 10 * time.Second
	// DefaultStallTimeout is how long a body may show no byte.
	DefaultStallTimeout = 2 * time.Second
	// idleConns is kept open to a registry: the leases that one node may
	// have at once, and a few requests for manifests.
	idleConns = 20
	// maxRedirects is how often a registry may send us on to its storage.
	maxRedirects = 5
	// maxAccess bounds the remembered handshakes, one a repository.
	maxAccess = 1024
)

// Registry is one upstream.
type Registry struct {
	// Host is the name that clients use: "docker.io", "registry.example:5000".
	Host string
	// Endpoint is where it is reached, "http://10.0.0.1:5000"; empty is
	// https at Host.
	Endpoint string
}

// Config is what an Origin is made of.
type Config struct {
	Registries []Registry
	// AllowAll admits every public registry host besides those listed.
	AllowAll bool
	// Download limits all reads together; nil is no limit.
	Download *rate.Limiter
	// UserAgent names us to registries.
	UserAgent string
	// StallTimeout is how long a body may show no byte;
	// 0 means DefaultStallTimeout.
	StallTimeout time.Duration
	Logger       *slog.Logger
}

// Origin reaches the registries that the operator allows.
type Origin struct {
	cfg       Config
	endpoints map[string]*url.URL // by Host, lower case
	base      *http.Transport
	stats     counters

	mu     sync.Mutex // guards access
	access map[string]*access
}

// access is the handshake with one repository: made once, then shared.
type access struct {
	once   sync.Once
	client *http.Client
	err    error
	until  time.Time // with err: try again after
}

// New checks the configuration. It opens no connection.
func New(cfg Config) (*Origin, error) {
	if cfg.StallTimeout <= 0 {
		cfg.StallTimeout = DefaultStallTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	o := &Origin{cfg: cfg, endpoints: make(map[string]*url.URL), access: make(map[string]*access)}
	for _, r := range cfg.Registries {
		u, err := endpoint(r)
		if err != nil {
			return nil, err
		}
		o.endpoints[strings.ToLower(r.Host)] = u
	}
	o.base = &http.Transport{
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		Proxy:                 http.ProxyFromEnvironment,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		ReadBufferSize:        128 << 10,
	}
	return o, nil
}

func endpoint(r Registry) (*url.URL, error) {
	if err := checkHost(r.Host); err != nil {
		return nil, fmt.Errorf("registry %q: %w", r.Host, err)
	}
	raw := r.Endpoint
	if raw == "" {
		raw = "https://" + canonical(r.Host)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("registry %s: endpoint %q: %w", r.Host, raw, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("registry %s: endpoint %q must be http://HOST[:PORT] or https://HOST[:PORT]", r.Host, raw)
	}
	return u, nil
}

// canonical is where a registry known by another name really listens.
func canonical(host string) string {
	if h := strings.ToLower(host); h == "docker.io" || h == "index.docker.io" {
		return "registry-1.docker.io"
	}
	return host
}

// UnknownRegistryError is a host that the operator does not allow.
type UnknownRegistryError struct {
	Host   string
	Reason string
}

func (e *UnknownRegistryError) Error() string {
	return fmt.Sprintf("registry %q is not allowed here: %s", e.Host, e.Reason)
}

// endpoint finds where a host is reached.
func (o *Origin) endpoint(host string) (*url.URL, error) {
	if u := o.endpoints[strings.ToLower(host)]; u != nil {
		return u, nil
	}
	if !o.cfg.AllowAll {
		return nil, &UnknownRegistryError{host, "add it to registries in the configuration, or set allowAllRegistries"}
	}
	if err := checkHost(host); err != nil {
		return nil, &UnknownRegistryError{host, err.Error()}
	}
	if err := checkPublic(host); err != nil {
		return nil, &UnknownRegistryError{host, err.Error()}
	}
	return &url.URL{Scheme: "https", Host: canonical(host)}, nil
}

// client returns an HTTP client that has done the handshake for a repository.
func (o *Origin) client(ctx context.Context, host, repo string) (*http.Client, *url.URL, error) {
	u, err := o.endpoint(host)
	if err != nil {
		return nil, nil, err
	}
	a := o.accessFor(u.String() + "/" + repo)
	a.once.Do(func() {
		a.client, a.err = o.handshake(context.WithoutCancel(ctx), u, repo)
		a.until = time.Now().Add(time.Second)
	})
	if a.err != nil {
		return nil, nil, fmt.Errorf("registry %s: %w", host, refusalOf(a.err))
	}
	return a.client, u, nil
}

// accessFor returns the handshake of a repository, a new one if the last
// failed a while ago.
func (o *Origin) accessFor(key string) *access {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.access[key]
	if a != nil && (a.until.IsZero() || a.err == nil || time.Now().Before(a.until)) {
		return a
	}
	if len(o.access) >= maxAccess { // rare: forget one, it is made again
		for k := range o.access {
			delete(o.access, k)
			break
		}
	}
	a = &access{}
	o.access[key] = a
	return a
}

func (o *Origin) handshake(ctx context.Context, u *url.URL, repo string) (*http.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, headerTimeout)
	defer cancel()
	o.stats.handshakes.Add(1)
	reg, err := name.NewRegistry(u.Host)
	if err != nil {
		return nil, err
	}
	base := transport.NewUserAgent(schemed{u.Scheme, u.Host, o.base}, o.cfg.UserAgent)
	rt, err := transport.NewWithContext(ctx, reg, authn.Anonymous, base, []string{"repository:" + repo + ":" + transport.PullScope})
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: rt, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if via[0].URL.Scheme == "https" && u.Scheme == "https" && req.URL.Scheme != "https" {
			return fmt.Errorf("redirect from https to %s refused", req.URL.Scheme)
		}
		return nil
	}}, nil
}

// schemed uses the endpoint's scheme for its host, whatever the handshake
// guesses: an http registry is not asked for TLS first, and an https one is
// never asked without.
type schemed struct {
	scheme, host string
	rt           http.RoundTripper
}

func (s schemed) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == s.host && r.URL.Scheme != s.scheme {
		r = r.Clone(r.Context())
		r.URL.Scheme = s.scheme
	}
	return s.rt.RoundTrip(r)
}
