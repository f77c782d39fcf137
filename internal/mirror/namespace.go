package mirror

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// maxHost bounds a registry host: a DNS name has at most 253 bytes, a port
// five digits and a colon.
const maxHost = 253 + 6

// hostGrammar is a DNS name or an IPv4 address; ports are cut off before.
var hostGrammar = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$`)

// registryHost is the registry that the one "ns" parameter names, which
// containerd adds; empty without one.
func registryHost(rawQuery string) (string, *failure) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return "", fail(http.StatusBadRequest, codeNameInvalid, "malformed query: %v", err)
	}
	ns := query["ns"]
	switch {
	case len(ns) > 1:
		return "", fail(http.StatusBadRequest, codeNameInvalid, "more than one ns parameter")
	case len(ns) == 1:
		host, err := parseHost(ns[0])
		if err != nil {
			return "", fail(http.StatusBadRequest, codeNameInvalid, "ns parameter: %v", err)
		}
		return host, nil
	}
	return "", nil
}

// parseHost checks a registry host, host[:port] as image references have it,
// and returns it in lower case. It accepts nothing that could carry a user,
// a path or a scheme.
func parseHost(s string) (string, error) {
	if len(s) > maxHost {
		return "", fmt.Errorf("registry host of %d bytes", len(s))
	}
	s = strings.ToLower(s)
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port = s[:i], s[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '0' {
			return "", fmt.Errorf("registry host %q has a malformed port", s)
		}
	}
	if v6, ok := strings.CutPrefix(host, "["); ok {
		v6, ok = strings.CutSuffix(v6, "]")
		addr, err := netip.ParseAddr(v6)
		if !ok || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", fmt.Errorf("registry host %q is no IPv6 address", s)
		}
		return s, nil
	}
	if !hostGrammar.MatchString(host) {
		return "", fmt.Errorf("%q is not a registry host", s)
	}
	return s, nil
}
