package preheat

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/secret"
)

const (
	// DefaultTimeout is how long a job may take that does not say: Harbor asks for
	// half an hour how it is.
	DefaultTimeout = 25 * time.Minute
	// MaxTimeout is the most that may be asked for.
	MaxTimeout = 24 * time.Hour
	minTimeout = 10 * time.Second
	// maxNamed bounds the nodes, zones and platforms that a request names.
	maxNamed = 1000
	// maxCredential bounds what is shown to a registry: what nodes take.
	maxCredential = 8 << 10
)

func invalid(message, hint string) error {
	return &api.Error{Status: http.StatusBadRequest, Message: message, Hint: hint}
}

// login is what a request gives to read with. The zero value is nothing.
type login struct {
	username        string
	password, token secret.Value
}

func (l *login) none() bool { return l.username == "" && l.token.IsZero() }

// specOf reads a request.
func specOf(r *api.PreheatRequest, rs Registries) (Spec, login, error) {
	s, err := imageOf(r.Image, rs)
	if err != nil {
		return s, login{}, err
	}
	s.Platforms, s.Nodes, s.Zones = slices.Clone(r.Platforms), slices.Clone(r.Nodes), slices.Clone(r.Zones)
	s.Scope, s.Count, s.Percentage, s.Timeout = r.Scope, r.Count, r.Percentage, DefaultTimeout
	for _, list := range [][]string{s.Platforms, s.Nodes, s.Zones} {
		if len(list) > maxNamed {
			return s, login{}, invalid(fmt.Sprintf("%d names in one list; the most is %d", len(list), maxNamed), "name zones, or a percentage")
		}
		slices.Sort(list)
	}
	for _, name := range s.Nodes {
		if _, err := path.Match(name, ""); err != nil {
			return s, login{}, invalid(fmt.Sprintf("nodes: %.100q is no pattern", name), "write names, or patterns of names such as gpu-*")
		}
	}
	for i, p := range s.Platforms {
		parsed, err := v1.ParsePlatform(p)
		if err != nil || parsed.OS == "" || parsed.Architecture == "" {
			return s, login{}, invalid(fmt.Sprintf("platforms: %.40q is none", p), "write OS/ARCH or OS/ARCH/VARIANT, such as linux/arm64")
		}
		s.Platforms[i] = platformOf(parsed)
	}
	if err := s.labelled(r.Selector); err != nil {
		return s, login{}, err
	}
	if err := s.scope(); err != nil {
		return s, login{}, err
	}
	if err := s.into(r.Into); err != nil {
		return s, login{}, err
	}
	if r.Timeout != "" {
		if s.Timeout, err = time.ParseDuration(r.Timeout); err != nil || s.Timeout < minTimeout || s.Timeout > MaxTimeout {
			return s, login{}, invalid(fmt.Sprintf("timeout: %.40q is not how long a job can take", r.Timeout), fmt.Sprintf("write a duration from %v to %v, such as 25m", minTimeout, MaxTimeout))
		}
	}
	l, err := loginOf(r.Credential)
	if err == nil && s.Into != "" && !l.token.IsZero() {
		err = invalid("credential: containerd is given a username with a password, and takes no token", "give those, or preheat into the store")
	}
	return s, l, err
}

// into notes where the image is to be.
func (s *Spec) into(where string) error {
	switch where {
	case "", api.PreheatStore:
		return nil
	case api.PreheatContainerd:
		if len(s.Platforms) > 0 {
			return invalid("platforms with into containerd: each containerd unpacks its own node's", "leave the platforms out, or preheat into the store")
		}
		s.Into = where
		return nil
	}
	return invalid(fmt.Sprintf("into: %.40q is nowhere", where), "use store or containerd")
}

// scope checks how many nodes are asked for, and fills in what is not said.
func (s *Spec) scope() error {
	if s.Scope == "" {
		switch {
		case s.Count != 0 || s.Percentage != 0:
			s.Scope = api.PreheatSome
		case len(s.Nodes) > 0 || len(s.Zones) > 0 || s.Labelled != nil:
			s.Scope = api.PreheatAll
		default:
			s.Scope = api.PreheatZone
		}
	}
	switch s.Scope {
	case api.PreheatZone, api.PreheatAll:
		if s.Count != 0 || s.Percentage != 0 {
			return invalid(fmt.Sprintf("scope %s with a count or a percentage", s.Scope), "leave out either the scope or the number")
		}
	case api.PreheatSome:
		if (s.Count == 0) == (s.Percentage == 0) || s.Count < 0 || s.Percentage < 0 || s.Percentage > 100 {
			return invalid(fmt.Sprintf("scope some with count %d and percentage %d", s.Count, s.Percentage), "give a count from 1 on, or a percentage from 1 to 100")
		}
	default:
		return invalid(fmt.Sprintf("scope: %.40q is none", s.Scope), "use zone, all or some")
	}
	return nil
}

// imageOf reads the name of an image and makes sure that its registry may be looked
// at.
func imageOf(image string, rs Registries) (Spec, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return Spec{}, invalid(fmt.Sprintf("image: %.200q is none: %v", image, err), "write REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@DIGEST")
	}
	host, _, err := rs.Known(ref.Context().RegistryStr())
	if err != nil {
		return Spec{}, &api.Error{Status: http.StatusForbidden, Message: "image: " + err.Error(), Hint: "the scheduler's preheat.registries lists those that may be preheated from"}
	}
	return Spec{Registry: host, Repository: ref.Context().RepositoryStr(), Reference: ref.Identifier()}, nil
}

func loginOf(c *api.PreheatCredential) (login, error) {
	if c == nil || *c == (api.PreheatCredential{}) {
		return login{}, nil
	}
	switch {
	case len(c.Username)+len(c.Password)+len(c.Token) > maxCredential:
		return login{}, invalid(fmt.Sprintf("credential: it has more than %d bytes", maxCredential), "")
	case c.Token != "" && (c.Username != "" || c.Password != ""), (c.Username == "") != (c.Password == ""):
		return login{}, invalid("credential: it is neither a username with a password nor a token alone", "give one of the two")
	case strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return login{}, invalid("credential: the token has characters that no header takes", "give it without Bearer")
	}
	return login{username: c.Username, password: secret.New(c.Password), token: secret.New(c.Token)}, nil
}

// manifestPath is what is left of a manifest's URL without the host.
var manifestPath = regexp.MustCompile(`^/v2/(.+)/manifests/([^/]+)$`)

// ImageOfURL reads the URL of a manifest, as Harbor and Dragonfly's tools name
// images: https://HOST/v2/REPOSITORY/manifests/TAG. Nothing is ever asked of that
// URL: it only stands for a name. It must be https unless that registry is reached
// without TLS.
func (k *Desk) ImageOfURL(text string) (image string, err error) {
	wrong := func(why string) error {
		return invalid(fmt.Sprintf("url: %.200q %s", text, why), "write https://HOST/v2/REPOSITORY/manifests/TAG")
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return "", wrong("is none")
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "" || u.Opaque != "" {
		return "", wrong("has more in it than a host and a path")
	}
	part := manifestPath.FindStringSubmatch(u.Path)
	if part == nil {
		return "", wrong("is not a manifest's")
	}
	_, plain, err := k.cfg.Registries.Known(u.Host)
	if err != nil {
		return "", &api.Error{Status: http.StatusForbidden, Message: "url: " + err.Error(), Hint: "the scheduler's preheat.registries lists those that may be preheated from"}
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !plain) {
		return "", wrong("is not https, and its registry is not configured to be reached without TLS")
	}
	sep := ":"
	if strings.Contains(part[2], ":") {
		sep = "@"
	}
	return u.Host + "/" + part[1] + sep + part[2], nil
}

// errNoCredential says that a job's credential went with its scheduler.
var errNoCredential = errors.New("the credential of this job went with the scheduler that took it; create the job anew")
