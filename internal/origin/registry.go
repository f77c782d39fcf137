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
	label      string // what it is called in Stats
	endpoints  []*endpoint
	tokenHosts []string // in lower case
	stale      time.Duration
}

// ConfigError is one thing that is wrong with a Registry.
type ConfigError struct {
	Key    string // of the configuration: "endpoint", "tokenHosts[1]"
	Value  string // without what is nobody's business
	WayOut string
}

func (e *ConfigError) Error() string { return fmt.Sprintf("%s: %.200q %s", e.Key, e.Value, e.WayOut) }

// Problems says all that is wrong with r. It opens no file.
func (r Registry) Problems() []*ConfigError {
	up, all := r.check()
	if len(all) > 0 {
		return all
	}
	for _, h := range r.hosts(up) {
		if err := h.Validate(); err != nil {
			all = append(all, &ConfigError{"host", h.Host, "cannot be reached: " + err.Error()})
		}
	}
	return all
}

// check makes an upstream of r, unless something is wrong with it.
func (r Registry) check() (*upstream, []*ConfigError) {
	var all []*ConfigError
	wrong := func(key, value, wayOut string) { all = append(all, &ConfigError{key, value, wayOut}) }
	up := &upstream{host: CanonicalHost(r.Host), label: CanonicalHost(r.Host), stale: r.ServeStale}
	base, wild := strings.CutPrefix(r.Host, "*.")
	if err := checkHost(base); err != nil {
		wrong("host", r.Host, "is no registry ("+err.Error()+"); write HOST, HOST:PORT, or *.SUFFIX for all that end so")
	}
	if r.ServeStale < 0 || r.ServeStale > maxServeStale {
		wrong("serveStale", r.ServeStale.String(), "is too long; use 0 for never, or at most "+maxServeStale.String())
	}
	key, list := r.list()
	switch {
	case r.Endpoint != "" && len(r.Endpoints) > 0:
		wrong("endpoint", hush(r.Endpoint), "and endpoints exclude each other; write it as the first of endpoints")
	case wild && len(list) > 0:
		wrong(key(0), hush(list[0]), "cannot be where many registries are; list the one that is there by its own name")
	case wild:
	case len(list) == 0 && len(all) == 0:
		up.endpoints = []*endpoint{{url: byHTTPS(up.host)}}
	}
	for i, v := range list {
		u, err := parseEndpoint(v)
		if err != nil {
			wrong(key(i), hush(v), "is no endpoint: "+err.Error())
			continue
		}
		up.endpoints = append(up.endpoints, &endpoint{url: u})
	}
	for i, h := range r.TokenHosts {
		if err := checkHost(h); err != nil {
			wrong(fmt.Sprintf("tokenHosts[%d]", i), h, "is no host ("+err.Error()+"); write HOST or HOST:PORT")
		}
		up.tokenHosts = append(up.tokenHosts, strings.ToLower(h))
	}
	return up, all
}

// list are the endpoints that were configured, and how each is called.
func (r Registry) list() (key func(i int) string, list []string) {
	if r.Endpoint != "" {
		return func(int) string { return "endpoint" }, []string{r.Endpoint}
	}
	return func(i int) string { return fmt.Sprintf("endpoints[%d]", i) }, r.Endpoints
}

func parseEndpoint(v string) (*url.URL, error) {
	const want = "want http://HOST[:PORT] or https://HOST[:PORT]"
	u, err := url.Parse(v)
	if err != nil {
		return nil, errors.New(want)
	}
	bare := u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
	if u.Scheme != "http" && u.Scheme != "https" || !bare || checkHost(u.Host) != nil {
		return nil, errors.New(want)
	}
	return &url.URL{Scheme: u.Scheme, Host: connectTo(u.Host)}, nil
}

func byHTTPS(host string) *url.URL { return &url.URL{Scheme: "https", Host: connectTo(host)} }

// CanonicalHost is the one name, in lower case, of a registry that has
// several: Docker Hub's is docker.io.
func CanonicalHost(host string) string {
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
	inClear := false
	for _, e := range up.endpoints {
		add(e.url.Scheme, e.url.Host)
		inClear = inClear || e.url.Scheme == "http"
	}
	if len(up.endpoints) == 0 { // a suffix
		add("https", up.host)
	}
	for _, h := range up.tokenHosts {
		add("https", h)
		if inClear {
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
	if up, ok := o.upstreams.Get(CanonicalHost(host)); ok {
		if len(up.endpoints) > 0 {
			return up, nil
		}
		if err := checkHost(host); err != nil {
			return nil, &UnknownRegistryError{host, err.Error()}
		}
		one := *up // of those that end so
		one.host = CanonicalHost(host)
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
	host = CanonicalHost(host)
	return &upstream{host: host, label: OtherRegistry, endpoints: []*endpoint{{url: byHTTPS(host)}}}, nil
}
