package egress

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

// Check says whether u's host is one that a Client would connect to, for those
// who let somebody else connect: all that its name resolves to now must be
// allowed. What cannot be resolved is not allowed; where a proxy resolves
// names, only an address can be checked.
func (c *Client) Check(ctx context.Context, u *url.URL) error {
	at := HostPort(u.Scheme, u.Host)
	if addr, ok := literal(u.Hostname()); ok {
		return c.check(at, addr)
	}
	proxy, err := c.cfg.Proxy(&http.Request{URL: u})
	if err != nil {
		return err
	}
	if proxy != nil || c.cfg.Dial != nil {
		return nil
	}
	resolver := c.cfg.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	addrs, err := resolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	for _, addr := range addrs {
		if err := c.check(at, addr.Unmap()); err != nil {
			return err
		}
	}
	return nil
}
