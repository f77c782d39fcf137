package origin

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

const (
	// maxHost is the longest DNS name.
	maxHost = 253
	// maxRepository is what the reference registry takes, host excluded.
	maxRepository = 255
)

var (
	// hostName is a DNS name or an IPv4 address. Underscores are no part of
	// host names, but of some that people have.
	hostName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?)*$`)
	// numeric is a last label that makes a name an address: resolvers take
	// "127.1", "2130706433" and "0x7f.1" for 127.0.0.1. No top-level domain
	// looks like it.
	numeric = regexp.MustCompile(`^(0[xX][0-9a-fA-F]*|[0-9]+)$`)
	// repository and tag are the grammars of the distribution specification.
	repository = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagName    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// checkHost accepts HOST or HOST:PORT, an IPv6 address in brackets, and
// nothing that could carry a user, a path, a zone or an escape.
func checkHost(h string) error {
	host, port, hasPort := splitPort(h)
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
			return errors.New("the port must be 1 to 65535")
		}
	}
	if v6, ok := strings.CutPrefix(host, "["); ok {
		v6, ok = strings.CutSuffix(v6, "]")
		addr, err := netip.ParseAddr(v6)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return errors.New("want an IPv6 address in brackets")
		}
		return nil
	}
	if len(host) > maxHost || !hostName.MatchString(host) {
		return errors.New("want HOST or HOST:PORT")
	}
	return nil
}

// splitPort cuts h at the colon before its port, if it has one.
func splitPort(h string) (host, port string, hasPort bool) {
	if i := strings.LastIndexByte(h, ':'); i >= 0 && !strings.HasSuffix(h, "]") {
		return h[:i], h[i+1:], true
	}
	return h, "", false
}

// checkPublic refuses hosts that only an operator may name: addresses, and
// names of this machine or of its search domains. What a name resolves to is
// not looked at.
func checkPublic(h string) error {
	host, _, _ := splitPort(strings.ToLower(h))
	labels := strings.Split(host, ".")
	last := labels[len(labels)-1]
	switch {
	case strings.HasPrefix(host, "["), numeric.MatchString(last):
		return errors.New("an address must be listed under registries")
	case len(labels) == 1, last == "localhost", last == "localdomain":
		return errors.New("a local name must be listed under registries")
	}
	return nil
}

// checkRepository keeps what would lead to another path, or widen a token's
// scope, out of requests.
func checkRepository(repo string) error {
	if len(repo) > maxRepository || !repository.MatchString(repo) {
		return fmt.Errorf("%.100q is not a repository's name", repo)
	}
	return nil
}

func checkTag(tag string) error {
	if !tagName.MatchString(tag) {
		return fmt.Errorf("%.100q is not a tag", tag)
	}
	return nil
}
