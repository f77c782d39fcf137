package origin

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Registry is one upstream.
type Registry struct {
	// Host is the name that clients use: "docker.io", "registry.example:5000".
	Host string
	// Endpoint is where it is reached, "http://10.0.0.1:5000"; empty is
	// https at Host. An http endpoint is never tried by https, nor the
	// other way round.
	Endpoint string
}

// endpoint checks a Registry. Its errors do not repeat an Endpoint, which may
// hold a password that does not belong there.
func (r Registry) endpoint() (*url.URL, error) {
	if err := checkHost(r.Host); err != nil {
		return nil, fmt.Errorf("registry %.100q: host: %w", r.Host, err)
	}
	if r.Endpoint == "" {
		return byHTTPS(r.Host), nil
	}
	u, err := url.Parse(r.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("registry %s: endpoint is no URL", r.Host)
	}
	bare := u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && !u.ForceQuery && u.Fragment == ""
	if u.Scheme != "http" && u.Scheme != "https" || !bare {
		return nil, fmt.Errorf("registry %s: endpoint must be http://HOST[:PORT] or https://HOST[:PORT]", r.Host)
	}
	if err := checkHost(u.Host); err != nil {
		return nil, fmt.Errorf("registry %s: endpoint: %w", r.Host, err)
	}
	return &url.URL{Scheme: u.Scheme, Host: canonical(u.Host)}, nil
}

func byHTTPS(host string) *url.URL { return &url.URL{Scheme: "https", Host: canonical(host)} }

// canonical is the host to connect to. Docker Hub's is not the one in its
// images' names; go-containerregistry knows it, and its keychains do.
func canonical(host string) string {
	host = strings.ToLower(host)
	if host == "docker.io" {
		return name.DefaultRegistry
	}
	return host
}

// UnknownRegistryError is a host that the operator does not allow.
type UnknownRegistryError struct {
	Host   string
	Reason string // what to configure
}

func (e *UnknownRegistryError) Error() string {
	return fmt.Sprintf("registry %.100q is not allowed here: %s", e.Host, e.Reason)
}

// endpoint finds where a host is reached. It fails with
// *UnknownRegistryError.
func (o *Origin) endpoint(host string) (*url.URL, error) {
	if u := o.endpoints[strings.ToLower(host)]; u != nil {
		return u, nil
	}
	unknown := &UnknownRegistryError{Host: host}
	if err := checkHost(host); err != nil {
		unknown.Reason = err.Error()
		return nil, unknown
	}
	err := errors.New("add it to registries in the configuration, or set allowAllRegistries")
	if o.cfg.AllowAll {
		err = checkPublic(host)
	}
	if err != nil {
		unknown.Reason = err.Error()
		return nil, unknown
	}
	return byHTTPS(host), nil
}
