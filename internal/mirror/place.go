package mirror

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/p2pd/p2pd/pkg/piece"
)

// place says which registry a request means, and which repository there. There
// are three ways to say it, tried in this order:
//
//   - an ns parameter, as containerd adds for a mirror;
//   - the registry as the path's first component, as Podman, CRI-O, Buildah and
//     skopeo are configured: /v2/quay.io/team/app/…;
//   - nothing, as Docker's registry-mirrors: the default registry is meant.
func (m *Mirror) place(x *exchange) *failure {
	host, bad := registryHost(x.r.URL.RawQuery)
	if bad != nil {
		return bad
	}
	t := &x.target
	if host == "" && t.prefix != "" && (m.cfg.DefaultRegistry == "" || !isName(t.name) || m.allows(t.prefix)) {
		x.host, x.byPath = t.prefix, true
		t.name = t.inner
		return nil
	}
	if !isName(t.name) {
		return invalidName(t.name)
	}
	if host == "" {
		host = m.cfg.DefaultRegistry
	}
	if host == "" {
		return fail(http.StatusNotFound, codeNameUnknown,
			"the request names no registry: it has no ns parameter, as containerd adds for hosts in certs.d/*/hosts.toml, its path does not begin with a registry, as in /v2/quay.io/team/app, and the mirror has no default registry configured")
	}
	x.host = host
	return nil
}

// allows reports whether the operator allows a registry.
func (m *Mirror) allows(host string) bool {
	_, err := m.cfg.Registries.Blob(host, "library/any", piece.Sum(nil))
	return !errors.Is(err, ErrUnknownRegistry)
}

// hostAndPort is a registry with its port as a component of a repository's name
// can have it, which has no colons: HOST_PORT.
var hostAndPort = regexp.MustCompile(`^([^_]+)_([1-9][0-9]{0,4})$`)

// splitPrefix takes a path's name apart into a registry and a repository there.
// Registries are told from other first components as in image references: by
// a dot, a colon, or the name localhost.
func splitPrefix(name string) (host, repo string, ok bool) {
	first, repo, ok := strings.Cut(name, "/")
	first = hostAndPort.ReplaceAllString(first, "$1:$2")
	if !ok || !isName(repo) || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return "", "", false
	}
	host, err := parseHost(first)
	return host, repo, err == nil
}

// isName reports whether a name is a repository's.
func isName(name string) bool { return len(name) <= maxName && nameGrammar.MatchString(name) }

func invalidName(name string) *failure {
	return fail(http.StatusBadRequest, codeNameInvalid, "invalid repository name %.80q", name)
}
