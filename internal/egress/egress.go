// Package egress is the one way out: every HTTP request that leaves the node,
// but for those between peers, goes through a Client. It decides what may be
// connected to, by the address that a name resolves to and not by the name;
// with which certificates; and where a redirect may lead. It knows no registry
// and no credential: whoever sends those adds them, for one host, in a
// RoundTripper around a Client.
//
// Start reading at Client.RoundTrip; address.go says which addresses are whose.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	// DefaultDialTimeout bounds a TCP connect, and the TLS handshake after
	// it: one lost SYN is sent again after 1 s, a second one after 3.
	DefaultDialTimeout = 3 * time.Second
	// DefaultHeaderTimeout is how long a server may take to begin an answer.
	DefaultHeaderTimeout = 10 * time.Second

	// MaxHeaderBytes is far above what registries send; the standard
	// library's 10 MiB is far above what we want to hold.
	MaxHeaderBytes = 64 << 10

	// idleConnsPerHost is what stays open to one registry: the 16 leases
	// that a host has at most, and a few requests for manifests.
	idleConnsPerHost = 20
	// idleConns is what stays open to all of them, at readBuffer each.
	idleConns       = 128
	idleConnTimeout = 90 * time.Second
	// readBuffer makes one system call of what the throttle lets pass.
	readBuffer = 64 << 10
	// streamBuffer bounds what HTTP/2 holds for a slow reader: at most this
	// for each of 16 leases, and enough for 1 Gbit/s over 16 ms.
	streamBuffer = 2 << 20
	// pingAfter is when a silent HTTP/2 connection is suspected: without a
	// ping, one that is dead would take all requests until TCP gives up.
	pingAfter = 5 * time.Second
)

// Config is what a Client is made of. The zero value reaches what is public.
type Config struct {
	// Hosts are those that the operator named. Any other host is reached
	// too, if its address is public, with the system's certificates.
	Hosts []Host

	DialTimeout   time.Duration // 0 means DefaultDialTimeout
	HeaderTimeout time.Duration // 0 means DefaultHeaderTimeout

	// Proxy finds the proxy of a request; nil asks the environment. Where
	// there is one, names are resolved by it, and only addresses that stand
	// in a URL can be checked here.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolver resolves names; nil is the system's.
	Resolver *net.Resolver
	// Dial replaces connecting, and the check of addresses with it. It is for
	// tests, whose hosts have names of their own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client sends requests. It is an http.RoundTripper, for any number of
// goroutines.
type Client struct {
	cfg   Config
	hosts Hosts[*known]   // by HOST:PORT; fixed
	base  *http.Transport // for hosts that nobody named
}

// known is what New made of a Host.
type known struct {
	grant
	transport *http.Transport
}

// New checks the configuration and reads the files that it names. It opens no
// connection.
func New(cfg Config) (*Client, error) {
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = DefaultDialTimeout
	}
	if cfg.HeaderTimeout <= 0 {
		cfg.HeaderTimeout = DefaultHeaderTimeout
	}
	if cfg.Proxy == nil {
		cfg.Proxy = http.ProxyFromEnvironment
	}
	c := &Client{cfg: cfg}
	c.base = c.transport()
	for _, h := range cfg.Hosts {
		if err := c.add(h); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Host, err)
		}
	}
	return c, nil
}

// add makes a host known. Where two Hosts are the same, what is granted to
// either is granted, and the first one's TLS counts.
func (c *Client) add(h Host) error {
	g, err := h.grant()
	if err != nil {
		return err
	}
	at := HostPort(h.Scheme, h.Host)
	if before, ok := c.hosts.exact(at); ok {
		before.private = before.private || g.private
		return nil
	}
	k := &known{grant: g, transport: c.base}
	if h.TLS != (TLS{}) {
		k.transport = c.transport()
		if k.transport.TLSClientConfig, err = h.TLS.load(); err != nil {
			return err
		}
	}
	c.hosts.Put(at, k)
	return nil
}

// transport makes one. It asks RoundTrip's context for the proxy.
func (c *Client) transport() *http.Transport {
	return &http.Transport{
		DialContext:            c.dial,
		Proxy:                  func(r *http.Request) (*url.URL, error) { return proxyOf(r.Context()), nil },
		ForceAttemptHTTP2:      true, // where the server offers it; never in clear
		DisableCompression:     true,
		MaxIdleConns:           idleConns,
		MaxIdleConnsPerHost:    idleConnsPerHost,
		IdleConnTimeout:        idleConnTimeout,
		TLSHandshakeTimeout:    c.cfg.DialTimeout,
		ResponseHeaderTimeout:  c.cfg.HeaderTimeout,
		MaxResponseHeaderBytes: MaxHeaderBytes,
		ReadBufferSize:         readBuffer,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: streamBuffer,
			SendPingTimeout:           pingAfter, PingTimeout: c.cfg.DialTimeout,
		},
	}
}

type proxyKey struct{}

// proxyOf is the proxy that RoundTrip chose for what ctx is of. A dial has the
// values of the request that it is made for.
func proxyOf(ctx context.Context) *url.URL {
	u, _ := ctx.Value(proxyKey{}).(*url.URL)
	return u
}

// RoundTrip implements http.RoundTripper. An address that is not allowed gives
// an *AddressError.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := c.admit(r)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper must, whatever happens
		}
		return nil, err
	}
	if proxy != nil {
		r = r.WithContext(context.WithValue(r.Context(), proxyKey{}, proxy))
	}
	transport := c.base
	if k, ok := c.hosts.Get(HostPort(r.URL.Scheme, r.URL.Host)); ok {
		transport = k.transport
	}
	return transport.RoundTrip(r)
}

// admit refuses what can be refused by its URL, and finds the proxy.
func (c *Client) admit(r *http.Request) (*url.URL, error) {
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return nil, fmt.Errorf("there is no way to %s by %q", r.URL.Host, r.URL.Scheme)
	}
	proxy, err := c.cfg.Proxy(r)
	if err != nil || proxy == nil {
		return nil, err
	}
	if addr, ok := literal(r.URL.Hostname()); ok {
		err = c.check(HostPort(r.URL.Scheme, r.URL.Host), addr)
	}
	return proxy, err
}

// dial connects to address, HOST:PORT, unless what HOST resolves to is not
// allowed. The proxy is where the operator's environment says.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.cfg.Dial != nil {
		return c.cfg.Dial(ctx, network, address)
	}
	d := net.Dialer{Timeout: c.cfg.DialTimeout, Resolver: c.cfg.Resolver}
	if proxyOf(ctx) == nil {
		// After the name is resolved and before the first packet: whatever
		// was looked up before may have changed since.
		d.Control = func(_, resolved string, _ syscall.RawConn) error {
			host, _, err := net.SplitHostPort(resolved)
			if err != nil {
				return err
			}
			addr, ok := literal(host)
			if !ok {
				return fmt.Errorf("%q is no address", host)
			}
			return c.check(address, addr)
		}
	}
	return d.DialContext(ctx, network, address)
}

// check is the one decision on an address: at is the HOST:PORT that was asked
// for, addr what it resolved to.
func (c *Client) check(at string, addr netip.Addr) error {
	var g grant
	if k, ok := c.hosts.Get(at); ok {
		g = k.grant
	}
	if g.admits(addr) {
		return nil
	}
	return &AddressError{Host: at, Addr: addr}
}

// CloseIdleConnections closes the connections that no request uses. The Client
// stays usable.
func (c *Client) CloseIdleConnections() {
	c.base.CloseIdleConnections()
	c.hosts.each(func(k *known) { k.transport.CloseIdleConnections() })
}
