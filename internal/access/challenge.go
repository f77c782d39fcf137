package access

import (
	"errors"
	"strings"
)

// Challenge is what a registry wants to see of its clients. Whoever makes one
// has checked where it sends them (see Origin), and that its values can stand
// between quotes as they are. The zero value is none.
type Challenge struct {
	Scheme  string // "Bearer" or "Basic"
	Realm   string // where a Bearer token is fetched; any text of Basic's
	Service string
	Scope   string
}

// relayed is what a client is sent in place of a registry's own challenge. It
// fails, with the reason, where the client is to be sent none: containerd
// then goes to the registry itself.
func relayed(repo Repo, m Mode, c Challenge) (string, error) {
	switch {
	case c.Scheme == "Basic" && m == Basic:
		return `Basic realm="` + c.Realm + `"`, nil
	case c.Scheme == "Basic":
		return "", errors.New("its Basic challenge is not passed on, as the operator has not chosen that clients show p2pd their passwords")
	case c.Scheme != "Bearer":
		return "", errors.New("it asks for no credential that is known here")
	}
	h := `Bearer realm="` + c.Realm + `"`
	if c.Service != "" {
		h += `,service="` + c.Service + `"`
	}
	return h + `,scope="` + scopeFor(repo, c.Scope) + `"`, nil
}

// scopeFor is the right to pull from one repository and nothing else, whatever
// a registry asks for: some send a placeholder, and none needs more. A scope
// that names no resource stays.
func scopeFor(repo Repo, scope string) string {
	if scope == "" || strings.Contains(scope, ":") {
		return "repository:" + repo.Name + ":pull"
	}
	return scope
}
