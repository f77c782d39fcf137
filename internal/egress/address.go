package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// zone is whose an address is.
type zone int

const (
	public    zone = iota
	private        // of somebody's own network
	loopback       // this machine
	linkLocal      // this machine's wire
	nobody         // where no registry is: metadata services, groups of hosts, nothing
)

func (z zone) String() string {
	return [...]string{"public", "private", "a loopback address", "link-local", "of no registry"}[z]
}

// prefixes are what net/netip has no method for, in the order in which they
// are looked up.
var prefixes = []struct {
	netip.Prefix
	zone
}{
	// Metadata services hand a machine's credentials to whoever asks.
	{netip.MustParsePrefix("169.254.169.254/32"), nobody}, // most clouds
	{netip.MustParsePrefix("169.254.170.2/32"), nobody},   // AWS, of containers
	{netip.MustParsePrefix("169.254.170.23/32"), nobody},  // AWS, of pods
	{netip.MustParsePrefix("fd00:ec2::254/128"), nobody},  // AWS
	{netip.MustParsePrefix("fd00:ec2::23/128"), nobody},   // AWS, of pods
	{netip.MustParsePrefix("fd20:ce::254/128"), nobody},   // Google
	{netip.MustParsePrefix("100.100.100.200/32"), nobody}, // Alibaba
	{netip.MustParsePrefix("192.0.0.192/32"), nobody},     // Oracle
	{netip.MustParsePrefix("168.63.129.16/32"), nobody},   // Azure

	{netip.MustParsePrefix("0.0.0.0/8"), nobody},
	{netip.MustParsePrefix("240.0.0.0/4"), nobody},
	{netip.MustParsePrefix("100.64.0.0/10"), private}, // between a provider and its clients
	{netip.MustParsePrefix("198.18.0.0/15"), private}, // benchmarks
	{netip.MustParsePrefix("192.0.0.0/24"), private},
	{netip.MustParsePrefix("fec0::/10"), private}, // what ULA replaced
}

// embedded are prefixes of IPv6 whose addresses lead to one of IPv4, and the
// byte where that stands.
var embedded = []struct {
	netip.Prefix
	at int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
	{netip.MustParsePrefix("::/96"), 12},        // compatible; :: and ::1 are looked at before
}

// zoneOf says whose a is.
func zoneOf(a netip.Addr) zone {
	a = a.Unmap().WithZone("")
	for _, p := range prefixes {
		if p.Contains(a) {
			return p.zone
		}
	}
	switch {
	case !a.IsValid(), a.IsUnspecified(), a.IsMulticast():
		return nobody
	case a.IsLoopback():
		return loopback
	case a.IsLinkLocalUnicast():
		return linkLocal
	case a.IsPrivate():
		return private
	}
	for _, e := range embedded {
		if e.Contains(a) {
			b := a.As16()
			return zoneOf(netip.AddrFrom4([4]byte(b[e.at:])))
		}
	}
	return public
}

// literal reads an address as it stands in a URL's host, without brackets.
func literal(host string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(host)
	return a.Unmap().WithZone(""), err == nil
}

// Host is one host that the operator named.
type Host struct {
	// Scheme is "http" or "https"; it tells the port where Host does not.
	Scheme string
	// Host is HOST or HOST:PORT, or *.SUFFIX or *.SUFFIX:PORT. One that is an
	// address is reached there whatever that address is, and "localhost" on
	// this machine.
	Host string
	// Private says that Host's name may resolve to an address of the
	// operator's own network. Never to one of this machine or its wire.
	Private bool
	TLS     TLS
}

// Validate says what is wrong with h. It opens no file.
func (h Host) Validate() error {
	_, err := h.grant()
	return err
}

// grant is what a host may resolve to besides public addresses.
type grant struct {
	private  bool
	loopback bool
	addr     netip.Addr
}

func (h Host) grant() (grant, error) {
	g := grant{private: h.Private}
	name := hostname(h.Host)
	if a, ok := literal(name); ok {
		if zoneOf(a) == nobody {
			return g, errors.New("no registry can be at that address")
		}
		g.addr = a
	}
	g.loopback = strings.EqualFold(name, "localhost") || strings.HasSuffix(strings.ToLower(name), ".localhost")
	return g, nil
}

func (g grant) admits(a netip.Addr) bool {
	switch zoneOf(a) {
	case public:
		return true
	case nobody:
		return false
	case private:
		return g.private || g.addr == a
	case loopback:
		return g.loopback || g.addr == a
	default:
		return g.addr == a
	}
}

// AddressError is a host whose address is not allowed.
type AddressError struct {
	Host string // HOST:PORT as it was asked for
	Addr netip.Addr
}

func (e *AddressError) Error() string {
	z := zoneOf(e.Addr)
	s := fmt.Sprintf("%.300q is at %s, which is %s: not connected to it", e.Host, e.Addr, z)
	if z == private {
		s += "; if that is right, say private: true for that registry"
	}
	return s
}
