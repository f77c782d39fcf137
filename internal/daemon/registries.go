package daemon

import (
	"fmt"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/internal/origin"
)

// RegistryConfig is one upstream registry, or all whose host ends in a suffix.
type RegistryConfig struct {
	// Host is as images name it, or *.SUFFIX.
	Host     string `json:"host"`
	Endpoint string `json:"endpoint"`
	// Endpoints are several in place of the one, the best first.
	Endpoints []string `json:"endpoints"`
	// Private lets its names resolve to private addresses.
	Private bool `json:"private"`
	// TokenHosts are where it may send clients for tokens, besides itself.
	TokenHosts []string  `json:"tokenHosts"`
	TLS        TLSConfig `json:"tls"`
	// ServeStale is how long a tag's last answer does while no endpoint
	// answers; 0 is never.
	ServeStale Duration `json:"serveStale"`
	// Credentials are the node's own; none unless set.
	Credentials CredentialsConfig `json:"credentials"`
}

// TLSConfig is how a registry is recognised, and how the node shows who it is.
type TLSConfig struct {
	CAFile     string `json:"caFile"`
	CertFile   string `json:"certFile"`
	KeyFile    string `json:"keyFile"`
	ServerName string `json:"serverName"`
}

// CredentialsConfig is where a registry's credentials are: in one of the two.
type CredentialsConfig struct {
	File         string `json:"file"`
	DockerConfig string `json:"dockerConfig"`
}

// origin is the registry in the origin's words.
func (r RegistryConfig) origin() origin.Registry {
	return origin.Registry{
		Host: r.Host, Endpoint: r.Endpoint, Endpoints: r.Endpoints, Private: r.Private, TokenHosts: r.TokenHosts,
		TLS: egress.TLS(r.TLS), ServeStale: time.Duration(r.ServeStale),
	}
}

// newOrigin makes the origin of a valid configuration: what that says of
// registries comes on top of cfg. It reads the files that are named there.
func newOrigin(registries Registries, cfg origin.Config) (*origin.Origin, error) {
	var credentials []origin.Credentials
	for _, r := range registries {
		cfg.Registries = append(cfg.Registries, r.origin())
		if r.Credentials != (CredentialsConfig{}) {
			credentials = append(credentials, origin.Credentials{Host: r.Host, File: r.Credentials.File, DockerConfig: r.Credentials.DockerConfig})
		}
	}
	keys, err := origin.NewKeychain(credentials)
	if err != nil {
		return nil, fmt.Errorf("registries: %w", err)
	}
	cfg.Keychain = keys
	o, err := origin.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("registries: %w", err)
	}
	return o, nil
}

// registries checks each entry by itself, and all together.
func (p *problems) registries(path string, all Registries) {
	seen := make(map[string]bool)
	for i, r := range all {
		key := fmt.Sprintf("%s[%d]", path, i)
		if name := origin.CanonicalHost(r.Host); seen[name] {
			p.add(key+".host", r.Host, "is there twice, maybe by another name of it; remove one")
		} else {
			seen[name] = true
		}
		for _, wrong := range r.origin().Problems() {
			p.add(key+"."+wrong.Key, wrong.Value, wrong.WayOut)
		}
		p.tls(key, r)
		if r.Credentials.File != "" && r.Credentials.DockerConfig != "" {
			p.add(key+".credentials.dockerConfig", r.Credentials.DockerConfig, "and credentials.file exclude each other; remove one")
		}
	}
}

func (p *problems) tls(key string, r RegistryConfig) {
	t := r.TLS
	if (t.CertFile == "") != (t.KeyFile == "") {
		p.add(key+".tls.certFile", t.CertFile, "and tls.keyFile belong together; set both or none")
	}
	if t == (TLSConfig{}) {
		return
	}
	endpoints := append([]string{r.Endpoint}, r.Endpoints...)
	for _, e := range endpoints {
		if e == "" && len(r.Endpoints) == 0 || strings.HasPrefix(strings.ToLower(e), "https:") {
			return
		}
	}
	p.add(key+".tls", r.Host, "has no endpoint that is reached by https; write https://HOST[:PORT] there, or remove tls")
}
