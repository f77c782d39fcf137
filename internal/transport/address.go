package transport

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// listenAddrs is hostport as multiaddrs to listen on. An empty host is all
// addresses of both families.
func listenAddrs(hostport string) ([]ma.Multiaddr, error) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("listen address: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, fmt.Errorf("listen address %s: port is not a number", hostport)
	}
	hosts := []string{host}
	if host == "" {
		hosts = []string{netip.IPv4Unspecified().String(), netip.IPv6Unspecified().String()}
	}
	var addrs []ma.Multiaddr
	for _, h := range hosts {
		if _, err := netip.ParseAddr(h); err != nil {
			return nil, fmt.Errorf("listen address %s: host is not an IP address", hostport)
		}
		a, err := hostAddr(h, port)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// advertisedHost is what others are told: advertise if it is set, the host
// of listen if it is specific, else this machine's first global unicast
// address. A machine without one (a test) advertises loopback.
func advertisedHost(advertise, listen string) (string, error) {
	if advertise != "" {
		return advertise, nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("listen address: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	if err == nil && !ip.IsUnspecified() {
		return host, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("list this machine's addresses: %w", err)
	}
	only4 := ip.Is4()
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().IsGlobalUnicast() && (prefix.Addr().Is4() || !only4) {
			return prefix.Addr().String(), nil
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1}).String(), nil
}

// hostAddr is host and port as a multiaddr.
func hostAddr(host, port string) (ma.Multiaddr, error) {
	proto := "dns"
	if ip, err := netip.ParseAddr(host); err == nil {
		proto = "ip6"
		if ip.Is4() {
			proto = "ip4"
		}
	}
	a, err := ma.NewMultiaddr("/" + proto + "/" + host + "/tcp/" + port)
	if err != nil {
		return nil, fmt.Errorf("address of host %s: %w", host, err)
	}
	return a, nil
}

// withPort is announce with the port that was bound: of the listener of the
// same address family if there is one. It is empty if nothing is bound.
func withPort(announce ma.Multiaddr, bound []ma.Multiaddr) []ma.Multiaddr {
	name, _ := ma.SplitFirst(announce)
	port := ""
	for _, b := range bound {
		p, err := b.ValueForProtocol(ma.P_TCP)
		if err != nil {
			continue
		}
		family, _ := ma.SplitFirst(b)
		if port == "" || family.Protocol().Code == name.Protocol().Code {
			port = p
		}
	}
	a, err := hostAddr(name.Value(), port)
	if port == "" || err != nil {
		return nil
	}
	return []ma.Multiaddr{a}
}

// dialAddrs reads the addresses that somebody gave for a peer. Those that
// are not plain TCP are left out: nothing else is ever dialled.
func dialAddrs(addrs []string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, s := range addrs {
		if len(out) == maxAddrs {
			break
		}
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			continue
		}
		if rest, last := ma.SplitLast(a); last != nil && last.Protocol().Code == ma.P_P2P {
			a = rest
		}
		if plainTCP(a) {
			out = append(out, a)
		}
	}
	return out
}

func plainTCP(a ma.Multiaddr) bool {
	protos := a.Protocols()
	if len(protos) != 2 || protos[1].Code != ma.P_TCP {
		return false
	}
	switch protos[0].Code {
	case ma.P_DNS, ma.P_DNS4, ma.P_DNS6:
		return true
	case ma.P_IP4, ma.P_IP6:
		return !manet.IsIPUnspecified(a)
	}
	return false
}
