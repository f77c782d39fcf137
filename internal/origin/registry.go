package origin

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/p2pd/p2pd/internal/egress"
)

// dockerHub is the name in images of what lives elsewhere; dockerHubNames are
// all that people write for it.
const dockerHub = "docker.io"

var dockerHubNames = []string{"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

// maxServeStale is how long a tag may outlive its origin. A cluster that needs
// more than a week has lost its registry.
const maxServeStale = 7 * 24 * time.Hour

// Registry is one upstream, or with a suffix all upstreams that end so.
type Registry struct {
	// Host is the name that clients use: "docker.io", "registry.example:5000",
	// or *.SUFFIX[:PORT].
	Host string
	// Endpoint is where it is reached, "http://10.0.0.1:5000"; empty is
	// https at Host. An http endpoint is never tried by https, nor the
	// other way round.
	Endpoint string
	// Endpoints are several in place of the one, the best first. The next
	// one is asked where one does not answer, fails or is too busy; never
	// because it refuses.
	Endpoints []string
	// Private says that its names, and those of its token hosts, may resolve
	// to addresses of the operator's own network.
	Private bool
	// TokenHosts are HOST or HOST:PORT where it may send clients for tokens,
	// besides its own host and those that are known of public registries.
	TokenHosts []string
	// TLS is for all its endpoints and token hosts that are reached by https.
	TLS egress.TLS
	// ServeStale is how long a tag's last answer may be repeated while no
	// endpoint answers; 0 is never.
	ServeStale time.Duration
}

// upstream is a checked Registry, or a public host that nobody listed.
type upstream struct {
	host       string // as in images, in lower case
	endpoints  []*endpoint
	tokenHosts []string // in lower case
	stale      time.Duration
}

// check makes an upstream of r. The errors do not repeat an endpoint, which may
// hold a password that does not belong there.
func (r Registry) check() (*upstream, error) {
	host := canonicalName(r.Host)
	up := &upstream{host: host, stale: r.ServeStale}
	base, wild := strings.CutPrefix(r.Host, "*.")
	if err := checkHost(base); err != nil {
		return nil, fmt.Errorf("registry %.100q: host: %w", r.Host, err)
	}
	list := r.Endpoints
	if r.Endpoint != "" {
		list = append([]string{r.Endpoint}, list...)
	}
	switch {
	case wild && len(list) > 0:
		return nil, fmt.Errorf("registry %s: many hosts have no common endpoint; list the one that needs it by its own name", r.Host)
	case r.Endpoint != "" && len(r.Endpoints) > 0:
		return nil, fmt.Errorf("registry %s: set endpoint or endpoints, not both", r.Host)
	case r.ServeStale < 0 || r.ServeStale > maxServeStale:
		return nil, fmt.Errorf("registry %s: serveStale %s is not within 0 and %s", r.Host, r.ServeStale, maxServeStale)
	case len(list) == 0 && !wild:
		up.endpoints = []*endpoint{{url: byHTTPS(host)}}
	}
	for _, e := range list {
		u, err := parseEndpoint(r.Host, e)
		if err != nil {
			return nil, err
		}
		up.endpoints = append(up.endpoints, &endpoint{url: u})
	}
	for _, h := range r.TokenHosts {
		if err := checkHost(h); err != nil {
			return nil, fmt.Errorf("registry %s: token host %.100q: %w", r.Host, h, err)
		}
		up.tokenHosts = append(up.tokenHosts, strings.ToLower(h))
	}
	return up, nil
}

func parseEndpoint(host, v string) (*url.URL, error) {
	u, err := url.Parse(v)
	if err != nil {
		return nil, fmt.Errorf("registry %s: endpoint is no URL", host)
	}
	bare := u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
	if u.Scheme != "http" && u.Scheme != "https" || !bare {
		return nil, fmt.Errorf("registry %s: endpoint must be http://HOST[:PORT] or https://HOST[:PORT]", host)
	}
	if err := checkHost(u.Host); err != nil {
		return nil, fmt.Errorf("registry %s: endpoint: %w", host, err)
	}
	return &url.URL{Scheme: u.Scheme, Host: connectTo(u.Host)}, nil
}

func byHTTPS(host string) *url.URL { return &url.URL{Scheme: "https", Host: connectTo(host)} }

// canonicalName is the one name of a registry that has several.
func canonicalName(host string) string {
	host = strings.ToLower(host)
	for _, alias := range dockerHubNames {
		if host == alias {
			return dockerHub
		}
	}
	return host
}

// connectTo is the host to connect to. Docker Hub's is not the one in its
// images' names; go-containerregistry knows it, and its keychains do.
func connectTo(host string) string {
	host = strings.ToLower(host)
	if host == dockerHub {
		return name.DefaultRegistry
	}
	return host
}

// hosts are what the way out must know of r: each host that it may lead to by
// the operator's word.
func (r Registry) hosts(up *upstream) []egress.Host {
	var all []egress.Host
	add := func(scheme, host string) {
		h := egress.Host{Scheme: scheme, Host: host, Private: r.Private}
		if scheme == "https" {
			h.TLS = r.TLS
		}
		all = append(all, h)
	}
	clear := false
	for _, e := range up.endpoints {
		add(e.url.Scheme, e.url.Host)
		clear = clear || e.url.Scheme == "http"
	}
	if len(up.endpoints) == 0 { // a suffix
		add("https", up.host)
	}
	for _, h := range up.tokenHosts {
		add("https", h)
		if clear {
			add("http", h)
		}
	}
	return all
}

// UnknownRegistryError is a host that the operator does not allow.
type UnknownRegistryError struct {
	Host   string
	Reason string // what to configure
}

func (e *UnknownRegistryError) Error() string {
	return fmt.Sprintf("registry %.100q is not allowed here: %s", e.Host, e.Reason)
}

// upstream finds where a host is reached. It fails with
// *UnknownRegistryError.
func (o *Origin) upstream(host string) (*upstream, error) {
	if up, ok := o.upstreams.Get(canonicalName(host)); ok {
		if len(up.endpoints) > 0 {
			return up, nil
		}
		if err := checkHost(host); err != nil {
			return nil, &UnknownRegistryError{host, err.Error()}
		}
		one := *up // of those that end so
		one.host = canonicalName(host)
		one.endpoints = []*endpoint{{url: byHTTPS(one.host)}}
		return &one, nil
	}
	if err := checkHost(host); err != nil {
		return nil, &UnknownRegistryError{host, err.Error()}
	}
	err := errors.New("add it to registries in the configuration, or set allowAllRegistries")
	if o.cfg.AllowAll {
		err = checkPublic(host)
	}
	if err != nil {
		return nil, &UnknownRegistryError{host, err.Error()}
	}
	host = canonicalName(host)
	return &upstream{host: host, endpoints: []*endpoint{{url: byHTTPS(host)}}}, nil
}
