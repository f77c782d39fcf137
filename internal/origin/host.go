package origin

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
)

// plainHost is a DNS name or an IPv4 address, bracketed an IPv6 one, each with
// an optional port.
var (
	plainHost = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?(:[0-9]{1,5})?$`)
	bracketed = regexp.MustCompile(`^\[[0-9a-fA-F:.]{2,45}\](:[0-9]{1,5})?$`)
)

// checkHost accepts HOST or HOST:PORT and nothing else.
func checkHost(h string) error {
	if plainHost.MatchString(h) && !strings.Contains(h, "..") {
		return nil
	}
	if bracketed.MatchString(h) {
		return nil
	}
	return errors.New("want HOST or HOST:PORT")
}

// checkPublic refuses hosts that only an operator may name: addresses and
// names of this machine. What a name resolves to is not checked here.
func checkPublic(h string) error {
	name := h
	if i := strings.LastIndexByte(h, ':'); i >= 0 && !strings.HasSuffix(h, "]") {
		name = h[:i]
	}
	name = strings.Trim(strings.ToLower(name), "[]")
	if _, err := netip.ParseAddr(name); err == nil {
		return errors.New("an address must be listed under registries")
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") || !strings.Contains(name, ".") {
		return errors.New("a local name must be listed under registries")
	}
	return nil
}
