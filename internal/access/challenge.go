package access

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

const (
	// maxChallenges bounds how many challenges of one answer are read.
	maxChallenges = 8
	// maxParameter bounds one value of a challenge, in bytes.
	maxParameter = 1 << 10
)

// tokenHosts are registries, known to all, whose token server has a name of
// its own.
var tokenHosts = map[string]string{
	"docker.io":            "auth.docker.io",
	"registry-1.docker.io": "auth.docker.io",
	"registry.gitlab.com":  "gitlab.com",
}

// challenge is one way that a registry would have a client prove itself.
type challenge struct {
	scheme     string            // in lower case
	parameters map[string]string // names in lower case
}

// relayed is the challenge that a client is sent in place of the registry's
// own: the first that the policy allows, Bearer before Basic, made anew from
// what is understood of it. A client sends its password to where a Bearer challenge points, so that
// must be the registry's own host or one that the operator named. The realm
// of a Bearer challenge is returned parsed. Without a challenge that may be
// passed on it fails.
func relayed(repo Repo, p Policy, headers []string) (header string, realm *url.URL, err error) {
	err = errors.New("the registry asks for no credential")
	challenges := parseChallenges(headers)
	slices.SortStableFunc(challenges, func(a, b challenge) int {
		return strings.Compare(b.scheme, a.scheme) // "bearer" is above "basic"
	})
	for _, c := range challenges {
		switch {
		case c.scheme == "bearer":
			realm, bad := checkRealm(c.parameters["realm"], repo.Host, p)
			if bad != nil {
				err = fmt.Errorf("its Bearer challenge is not passed on: %w", bad)
				continue
			}
			return c.bearer(repo, realm), realm, nil
		case c.scheme == "basic" && p.Mode == Basic:
			return "Basic realm=" + quote(c.parameters["realm"]), nil, nil
		case c.scheme == "basic":
			err = errors.New("its Basic challenge is not passed on: the operator has not chosen that clients show p2pd their passwords")
		}
	}
	return "", nil, err
}

// bearer is the challenge for pulling from one repository and nothing else,
// whatever the registry's own says: some send a placeholder for a scope, and
// none needs more. A scope that names no resource stays.
func (c challenge) bearer(repo Repo, realm *url.URL) string {
	scope := c.parameters["scope"]
	if scope == "" || strings.Contains(scope, ":") {
		scope = "repository:" + repo.Name + ":pull"
	}
	var b strings.Builder
	b.WriteString("Bearer realm=" + quote(realm.String()))
	if service := c.parameters["service"]; service != "" {
		b.WriteString(",service=" + quote(service))
	}
	b.WriteString(",scope=" + quote(scope))
	// Clients tell a token that ran out from one that was never good.
	if e := c.parameters["error"]; e == "invalid_token" || e == "insufficient_scope" {
		b.WriteString(",error=" + quote(e))
	}
	return b.String()
}

// checkRealm parses where a Bearer challenge sends the client.
func checkRealm(realm, registry string, p Policy) (*url.URL, error) {
	u, err := url.Parse(realm)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, errors.New("its realm is no plain URL")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !p.ClearTokens) {
		return nil, fmt.Errorf("its realm is not reached by https, but %.20q", u.Scheme)
	}
	host := strings.ToLower(u.Hostname())
	own := hostOnly(registry)
	named := func(h string) bool { return hostOnly(h) == host }
	if host == own || host == tokenHosts[own] || slices.ContainsFunc(p.TokenHosts, named) {
		return u, nil
	}
	return nil, fmt.Errorf("its realm is at %.100q, which is neither the registry nor one of its token hosts", host)
}

// hostOnly is a host in lower case, without port and brackets.
func hostOnly(hostport string) string {
	if a, err := netip.ParseAddrPort(hostport); err == nil {
		return a.Addr().String()
	}
	u := url.URL{Host: strings.ToLower(hostport)}
	return u.Hostname()
}

// quote makes a quoted-string of a parameter that parseChallenges let pass.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// parseChallenges reads WWW-Authenticate headers (RFC 9110 §11.6.1). A header
// may hold several challenges, divided by the commas that divide parameters
// too. What is malformed ends the header that it is in.
func parseChallenges(headers []string) []challenge {
	var found []challenge
	for _, h := range headers {
		s := scanner(h)
		for len(found) < maxChallenges {
			s.skip(", \t")
			scheme, ok := s.token()
			if !ok {
				break
			}
			c := challenge{strings.ToLower(scheme), make(map[string]string)}
			if !s.parameters(c.parameters) {
				break
			}
			found = append(found, c)
		}
	}
	return found
}

// scanner is what is left of a header.
type scanner string

func (s *scanner) skip(chars string) { *s = scanner(strings.TrimLeft(string(*s), chars)) }

// token cuts a token off the front.
func (s *scanner) token() (string, bool) {
	i := strings.IndexFunc(string(*s), func(r rune) bool { return !isTokenChar(r) })
	if i < 0 {
		i = len(*s)
	}
	t := string((*s)[:i])
	*s = (*s)[i:]
	return t, t != "" && len(t) <= maxParameter
}

func isTokenChar(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
}

// parameters reads name=value pairs up to the next challenge. False: they are
// malformed.
func (s *scanner) parameters(into map[string]string) bool {
	for {
		s.skip(", \t")
		rest := *s
		name, ok := rest.token()
		if !ok {
			return len(rest) == 0
		}
		rest.skip(" \t")
		if !strings.HasPrefix(string(rest), "=") {
			return true // that was the next challenge's scheme
		}
		rest = rest[1:]
		rest.skip(" \t")
		value, ok := rest.value()
		name = strings.ToLower(name)
		if _, twice := into[name]; !ok || twice {
			return false
		}
		into[name], *s = value, rest
	}
}

// value cuts a token or a quoted string off the front.
func (s *scanner) value() (string, bool) {
	if !strings.HasPrefix(string(*s), `"`) {
		return s.token()
	}
	var b strings.Builder
	for i := 1; i < len(*s) && b.Len() <= maxParameter; i++ {
		switch c := (*s)[i]; {
		case c == '"':
			*s = (*s)[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(*s):
			i++
			c = (*s)[i]
			fallthrough
		default:
			if c < ' ' || c >= 0x7f {
				return "", false
			}
			b.WriteByte(c)
		}
	}
	return "", false
}
