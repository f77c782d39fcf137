package origin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"sigs.k8s.io/yaml"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/internal/secret"
)

// maxCredentials bounds a file with credentials.
const maxCredentials = 1 << 20

// Credentials say where the node's own credentials for a registry are. Exactly
// one of the files is set.
type Credentials struct {
	// Host is as Registry.Host; a suffix is for all hosts that end so.
	Host string
	// File is YAML or JSON: username and password, or token (a Bearer token
	// to send as it is), or identityToken (to trade for one).
	File string
	// DockerConfig is a config.json of Docker's, or .dockerconfigjson of a
	// Kubernetes Secret. Only what is below "auths" is understood.
	DockerConfig string
}

// Keychain has the node's credentials, for the registries that the operator
// chose and for no other. It keeps none: files are read at every handshake, so
// that they may be replaced.
type Keychain struct{ hosts egress.Hosts[Credentials] }

// NewKeychain reads all files once, so that what is wrong shows at once.
func NewKeychain(list []Credentials) (*Keychain, error) {
	k := &Keychain{}
	var all []error
	for _, c := range list {
		c.Host = CanonicalHost(c.Host)
		if !k.hosts.Put(c.Host, c) {
			all = append(all, fmt.Errorf("registry %s: credentials are there twice", c.Host))
			continue
		}
		l, err := c.read(c.Host + "/")
		if err == nil && l.none() && c.File != "" {
			err = fmt.Errorf("%s has neither username and password nor a token", c.File)
		}
		if err != nil {
			all = append(all, fmt.Errorf("registry %s: credentials: %w", c.Host, err))
		}
	}
	return k, errors.Join(all...)
}

// Resolve implements authn.Keychain.
func (k *Keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	host := CanonicalHost(r.RegistryStr())
	c, ok := k.hosts.Get(host)
	if !ok {
		return authn.Anonymous, nil
	}
	_, repo, _ := strings.Cut(r.String(), "/")
	l, err := c.read(host + "/" + repo + "/")
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Has reports whether the operator chose credentials for a registry.
func (k *Keychain) Has(host string) bool {
	_, ok := k.hosts.Get(CanonicalHost(host))
	return ok
}

// login is one set of credentials. Its zero value is none.
type login struct {
	username                  string
	password, identity, token secret.Value
}

func (l login) none() bool { return l.username == "" && l.identity.IsZero() && l.token.IsZero() }

// loginOf keeps what a Keychain says without a way to print it.
func loginOf(c *authn.AuthConfig) login {
	return login{c.Username, secret.New(c.Password), secret.New(c.IdentityToken), secret.New(c.RegistryToken)}
}

// Authorization implements authn.Authenticator.
func (l login) Authorization() (*authn.AuthConfig, error) {
	return &authn.AuthConfig{
		Username: l.username, Password: l.password.Reveal(), IdentityToken: l.identity.Reveal(), RegistryToken: l.token.Reveal(),
	}, nil
}

// authorization is login's Authorization through whatever a Keychain returned.
func authorization(ctx context.Context, a authn.Authenticator) (login, error) {
	c, err := authn.Authorization(ctx, a)
	if err != nil {
		return login{}, err
	}
	return loginOf(c), nil
}

// read finds the credentials for a target, HOST/REPOSITORY/. Errors say nothing
// of what is in the file.
func (c Credentials) read(target string) (login, error) {
	if (c.File == "") == (c.DockerConfig == "") {
		return login{}, errors.New("name a file or a dockerConfig, and not both")
	}
	if c.DockerConfig != "" {
		return dockerLogin(c.DockerConfig, target)
	}
	b, err := readSmall(c.File)
	if err != nil {
		return login{}, err
	}
	var f struct {
		Username      string `json:"username"`
		Password      string `json:"password"`
		Token         string `json:"token"`
		IdentityToken string `json:"identityToken"`
	}
	if yaml.UnmarshalStrict(b, &f) != nil { // its error may quote what it read
		return login{}, fmt.Errorf("%s is no YAML or JSON with username and password, token, or identityToken", c.File)
	}
	if (f.Username == "") != (f.Password == "") {
		return login{}, fmt.Errorf("%s: username and password come together", c.File)
	}
	return login{f.Username, secret.New(f.Password), secret.New(f.IdentityToken), secret.New(f.Token)}, nil
}

func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxCredentials {
		return nil, fmt.Errorf("%s has %d bytes; the most that is read is %d", name, info.Size(), maxCredentials)
	}
	return os.ReadFile(name) //nolint:gosec // the operator names it
}
