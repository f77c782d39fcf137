package origin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/p2pd/p2pd/internal/egress"
)

// Challenge is what a registry wants to see, fit to be passed on: whoever gets
// it brings a password to Realm.
type Challenge struct {
	Scheme  string // "Bearer" or "Basic"; empty for no challenge
	Realm   string // a URL of Bearer's, checked; any text of Basic's
	Service string
	Scope   string
}

// maxParameter bounds one parameter of a challenge, in bytes. Realms are
// short; scopes name one repository.
const maxParameter = 2 << 10

// Header is the value of WWW-Authenticate; empty for no challenge.
func (c Challenge) Header() string {
	if c.Scheme == "" {
		return ""
	}
	h := c.Scheme + ` realm="` + c.Realm + `"`
	if c.Service != "" {
		h += `,service="` + c.Service + `"`
	}
	if c.Scope != "" {
		h += `,scope="` + c.Scope + `"`
	}
	return h
}

// knownTokenHosts are where public registries keep their token servers, if not
// at their own host.
var knownTokenHosts = map[string]string{
	dockerHub:                   "auth.docker.io",
	"registry.gitlab.com":       "gitlab.com",
	"docker.elastic.co":         "docker-auth.elastic.co",
	"registry.digitalocean.com": "api.digitalocean.com",
}

// challengeOf picks the challenge to answer out of the WWW-Authenticate headers
// of e's answer, and checks it: Bearer before Basic. None is the zero value.
func (o *Origin) challengeOf(ctx context.Context, up *upstream, e *endpoint, headers []string) (Challenge, error) {
	var basic Challenge
	for _, c := range parseChallenges(headers) {
		switch {
		case c.Scheme == "Bearer":
			if err := o.checkRealm(ctx, up, e, c.Realm); err != nil {
				return Challenge{}, &ChallengeError{up.host, err}
			}
			return c, nil
		case basic.Scheme == "":
			basic = c
		}
	}
	return basic, nil
}

// ChallengeError is a challenge of a registry that nobody should answer.
type ChallengeError struct {
	Host string // the registry
	Err  error
}

func (e *ChallengeError) Error() string {
	return fmt.Sprintf("the challenge of %s is not answered: %v", e.Host, e.Err)
}

// Unwrap implements errors.Unwrap.
func (e *ChallengeError) Unwrap() error { return e.Err }

// checkRealm says why no password must be brought to a realm.
func (o *Origin) checkRealm(ctx context.Context, up *upstream, e *endpoint, realm string) error {
	u, err := url.Parse(realm)
	if err != nil || checkHost(u.Host) != nil || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return errors.New("its realm is no URL of a token server")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || e.url.Scheme != "http") {
		return fmt.Errorf("its realm at %s is not reached by https", u.Host)
	}
	if !up.mayIssueTokens(e, u) {
		return fmt.Errorf("its realm is at %s, not at its own host; if that is right, add it to tokenHosts of %s in the configuration", u.Host, up.host)
	}
	if err := o.out.Check(ctx, u); err != nil {
		return fmt.Errorf("its realm: %w", err)
	}
	return nil
}

// mayIssueTokens reports whether u is at the registry's own host, on any port,
// or at one of its token hosts.
func (u *upstream) mayIssueTokens(e *endpoint, realm *url.URL) bool {
	name := strings.ToLower(realm.Hostname())
	own, _, _ := splitPort(u.host)
	if name == strings.ToLower(e.url.Hostname()) || name == strings.Trim(own, "[]") {
		return true
	}
	at := egress.HostPort(realm.Scheme, realm.Host)
	for _, h := range append([]string{knownTokenHosts[u.host]}, u.tokenHosts...) {
		if h != "" && egress.HostPort(realm.Scheme, h) == at {
			return true
		}
	}
	return false
}

// parseChallenges reads WWW-Authenticate headers (RFC 9110 §11.6.1). It returns
// the Bearer and Basic challenges whose parameters can be passed on between
// quotes as they are; anything else is left out, and so is all that follows
// something malformed.
func parseChallenges(headers []string) []Challenge {
	var all []Challenge
	for _, h := range headers {
		p := challengeParser{rest: h}
		for {
			c, ok := p.next()
			if !ok {
				break
			}
			if c.Scheme != "" {
				all = append(all, c)
			}
		}
	}
	return all
}

// challengeParser reads one header from its front.
type challengeParser struct{ rest string }

// next reads a challenge. Its scheme is empty if it is none of ours. It
// reports false at the end, and at what it cannot read.
func (p *challengeParser) next() (Challenge, bool) {
	p.rest = strings.TrimLeft(p.rest, " \t,")
	scheme := p.token()
	if scheme == "" || p.rest != "" && !strings.ContainsRune(" \t,", rune(p.rest[0])) {
		return Challenge{}, false
	}
	c := Challenge{}
	fit := true
	for {
		key, value, found, ok := p.parameter()
		if !ok {
			return Challenge{}, false
		}
		if !found {
			break
		}
		fit = fit && quotable(value)
		switch strings.ToLower(key) {
		case "realm":
			c.Realm = value
		case "service":
			c.Service = value
		case "scope":
			c.Scope = value
		}
	}
	switch {
	case !fit:
	case strings.EqualFold(scheme, "bearer") && c.Realm != "":
		c.Scheme = "Bearer"
	case strings.EqualFold(scheme, "basic"):
		return Challenge{Scheme: "Basic", Realm: c.Realm}, true
	}
	if c.Scheme == "" {
		return Challenge{}, true
	}
	return c, true
}

// parameter reads KEY=VALUE, if that is what follows. ok is false at what
// cannot be read.
func (p *challengeParser) parameter() (key, value string, found, ok bool) {
	before := p.rest
	p.rest = strings.TrimLeft(p.rest, " \t,")
	key = p.token()
	after := strings.TrimLeft(p.rest, " \t")
	if key == "" || !strings.HasPrefix(after, "=") {
		p.rest = before // the next scheme, or the end
		return "", "", false, key != "" || strings.Trim(before, " \t,") == ""
	}
	p.rest = strings.TrimLeft(after[1:], " \t")
	if strings.HasPrefix(p.rest, `"`) {
		value, ok = p.quoted()
		return key, value, true, ok
	}
	value = p.token()
	return key, value, true, value != ""
}

// token reads what needs no quotes. It takes a little more than RFC 9110 does,
// as some registries do without where they should not.
func (p *challengeParser) token() string {
	i := strings.IndexAny(p.rest, " \t,=\"")
	if i < 0 {
		i = len(p.rest)
	}
	t := p.rest[:i]
	p.rest = p.rest[i:]
	return t
}

// quoted reads a quoted string. One with an escape is not passed on: no
// registry needs them.
func (p *challengeParser) quoted() (string, bool) {
	value, rest, ok := strings.Cut(p.rest[1:], `"`)
	if !ok || strings.Contains(value, `\`) {
		return "", false
	}
	p.rest = rest
	return value, true
}

// quotable reports whether v can stand between quotes as it is.
func quotable(v string) bool {
	return len(v) <= maxParameter && !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' })
}
