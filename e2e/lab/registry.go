package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	// originPort is where nodes reach the origin.
	originPort = 5000
	// registryPort is where the registry listens when a forwarder holds the
	// origin's rate in front of it.
	registryPort = 5001
	// RegistryHost is the registry's name in image references. It resolves
	// nowhere: whoever pulls is told the endpoint.
	RegistryHost = "registry.lab.test"
)

// Registry is the origin: a real registry on a file system, with its access
// log.
type Registry struct {
	Endpoint string // base URL as nodes see it

	place  Place
	direct string // base URL without the forwarder
	access string // path of the access log
	proc   *Process
}

// startRegistry serves at the origin's place.
func (l *Lab) startRegistry(ctx context.Context) (*Registry, error) {
	dir, err := l.mkdir("registry")
	if err != nil {
		return nil, err
	}
	port := originPort
	if !l.Net.Shaped && l.OriginRate > 0 {
		port = registryPort
		if err := l.forward(l.Net.Origin.At(originPort), l.Net.Origin.At(registryPort), l.OriginRate); err != nil {
			return nil, err
		}
	}
	r := &Registry{
		Endpoint: "http://" + l.Net.Origin.At(originPort),
		place:    l.Net.Origin, direct: "http://" + l.Net.Origin.At(port),
		access: filepath.Join(l.Dir, "registry-access.log"),
	}
	config := filepath.Join(dir, "config.yml")
	if err := writeYAML(config, map[string]any{
		"version": "0.1",
		"log":     map[string]any{"level": "warn", "accesslog": map[string]any{"disabled": false}},
		"storage": map[string]any{
			"filesystem":  map[string]any{"rootdirectory": filepath.Join(dir, "data")},
			"maintenance": map[string]any{"uploadpurging": map[string]any{"enabled": false}},
		},
		"http": map[string]any{"addr": l.Net.Origin.At(port)},
	}); err != nil {
		return nil, err
	}
	if r.proc, err = l.Start(l.Net.Origin, Spec{
		Name: "registry", Args: []string{filepath.Join(l.Programs.Tools, "registry"), "serve", config},
		Env:    []string{"OTEL_TRACES_EXPORTER=none"},
		Stdout: r.access,
	}); err != nil {
		return nil, err
	}
	return r, r.proc.WaitReady(ctx, func(ctx context.Context) error {
		return get(ctx, r.place.HTTPClient(), r.direct+"/v2/")
	})
}

// Kill ends the registry: from now on it refuses connections.
func (r *Registry) Kill() { r.proc.Kill() }

// BlobFile is where the origin keeps a blob, by distribution's layout.
func (l *Lab) BlobFile(digest string) string {
	algorithm, encoded, _ := strings.Cut(digest, ":")
	return filepath.Join(l.Dir, "registry", "data", "docker", "registry", "v2", "blobs", algorithm, encoded[:2], encoded, "data")
}

// Mark is a point in the access log; what comes after it can be counted.
type Mark int64

// Mark is the end of the access log, once requests that are ending have been
// written.
func (r *Registry) Mark(ctx context.Context) (Mark, error) {
	const quiet = 250 * time.Millisecond // a request is logged when its handler returns
	last := int64(-1)
	for {
		info, err := os.Stat(r.access)
		if err != nil {
			return 0, fmt.Errorf("access log: %w", err)
		}
		if info.Size() == last {
			return Mark(last), nil
		}
		last = info.Size()
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(quiet):
		}
	}
}

// Since counts the requests after a mark.
func (r *Registry) Since(ctx context.Context, from Mark) (Tally, error) {
	to, err := r.Mark(ctx)
	if err != nil {
		return Tally{}, err
	}
	f, err := os.Open(r.access)
	if err != nil {
		return Tally{}, fmt.Errorf("access log: %w", err)
	}
	defer f.Close()
	return count(io.NewSectionReader(f, int64(from), int64(to-from)))
}

// get succeeds if the answer's status is 200.
func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// writeYAML writes a configuration file.
func writeYAML(name string, v any) error {
	b, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}
