package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Hosts makes containerd ask one URL for all that a registry's name stands for,
// and nobody else. caFile is of its authority; empty: none of its own.
func (c *Containerd) Hosts(registry, url, caFile string) error {
	dir := filepath.Join(c.hosts, registry)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make certs.d: %w", err)
	}
	ca := ""
	if caFile != "" {
		ca = fmt.Sprintf("  ca = %q\n", caFile)
	}
	text := fmt.Sprintf("server = %q\n%s\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n%s", url, ca, url, ca)
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write hosts.toml: %w", err)
	}
	return nil
}

// PullAs pulls and unpacks an image with a login; "" is none.
func (c *Containerd) PullAs(ctx context.Context, login, reference string) error {
	_, err := c.ctr(ctx, c.as(login, []string{"images", "pull"}, reference)...)
	return err
}

// FetchAs fetches an image's content, and does not unpack it.
func (c *Containerd) FetchAs(ctx context.Context, login, reference string) error {
	_, err := c.ctr(ctx, c.as(login, []string{"content", "fetch"}, reference)...)
	return err
}

// FetchBlobAs reads one blob by its digest from the repository that a
// reference names, whatever containerd holds.
func (c *Containerd) FetchBlobAs(ctx context.Context, login, reference, digest string) (string, error) {
	return c.ctr(ctx, c.as(login, []string{"content", "fetch-blob"}, reference, digest)...)
}

func (c *Containerd) as(login string, command []string, args ...string) []string {
	command = append(command, "--hosts-dir", c.hosts)
	if login != "" {
		command = append(command, "--user", login)
	}
	return append(command, args...)
}

// LoggedIn is the mode with a login of its own for whoever asks for one at
// HOST:PORT, for pods that bring none. CRI then pulls by itself.
func (m PullMode) LoggedIn(host string, t Tenant) PullMode {
	plugin := "io.containerd.cri.v1.images"
	if strings.HasPrefix(m.Runtime.Version, "1.") {
		plugin = "io.containerd.grpc.v1.cri"
	}
	m.Name += "-" + t.Name
	m.config += fmt.Sprintf("\n[plugins.%q.registry.configs.%q.auth]\n  username = %q\n  password = %q\n", plugin, host, t.Name, t.Password)
	return m
}

// PullReference pulls an image of any registry.
func (c *CRI) PullReference(ctx context.Context, reference string) error {
	_, err := c.cri(ctx, "pull", reference)
	return err
}
