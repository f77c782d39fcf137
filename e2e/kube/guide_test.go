package kube_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/kube"
	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/e2e/packages"
)

// blocks is how many blocks of commands there are below each heading that the test
// follows. One that comes or goes must be thought of here.
var blocks = map[string]int{"Install": 4, "The live page": 1, "Preheats by Harbor": 1, "Preheats into containerd": 1, "Preheats by node labels": 1, "A canary": 1, "Leave": 2}

// guide is docs/kubernetes.md in the hands of somebody who has a clone of the
// repository, and a cluster.
type guide struct {
	clone  string
	blocks map[string][]string
	// upgrade is the command of docs/upgrade.md.
	upgrade string
}

func openGuide(ctx context.Context, t *testing.T) *guide {
	t.Helper()
	all, err := packages.Guide("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, n := range blocks {
		if len(all[heading]) != n {
			t.Fatalf("docs/kubernetes.md has %d blocks of commands below %q, want %d", len(all[heading]), heading, n)
		}
	}
	upgrade, err := packages.Guide("../../docs/upgrade.md")
	if err != nil || len(upgrade["On Kubernetes"]) != 1 {
		t.Fatalf("docs/upgrade.md: %v, %d commands for Kubernetes, want 1", err, len(upgrade["On Kubernetes"]))
	}
	g := &guide{clone: filepath.Join(t.TempDir(), "p2pd"), blocks: all, upgrade: upgrade["On Kubernetes"][0]}
	// What is changed and not committed yet is tried, too.
	script := `mkdir "$1" && git -c safe.directory='*' ls-files -z --cached --others --exclude-standard | xargs -0 cp -a --parents -t "$1"`
	cmd := exec.CommandContext(ctx, "sh", "-euc", script, "sh", g.clone)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy the repository: %v: %s", err, out)
	}
	return g
}

// words are what the guide leaves to its reader, and what this cluster needs
// besides: its registries have addresses in place of names.
func (x *cluster) words() *strings.Replacer {
	address := strings.TrimPrefix(x.Lab.Registry.Endpoint, "http://")
	image := "image: {repository: registry.example/p2pd, tag: 0.1.0}\n"
	return strings.NewReplacer(
		image, strings.Replace(image, "registry.example", lab.RegistryHost, 1)+fmt.Sprintf(`containerd: {registries: [%[1]s, %[3]s, %[6]q]}
node:
  terminationGracePeriodSeconds: 15
  maxUnavailable: 1
  config:
    store: {capacity: 2GiB}
    registries:
      - {host: %[1]s, endpoint: %[2]q}
      - {host: %[6]q, endpoint: %[2]q}
      - {host: %[3]s, endpoint: %[4]q, tokenHosts: [%[5]q]}
`, lab.RegistryHost, x.Lab.Registry.Endpoint, privateHost, x.private.Endpoint, x.tokens.Host(), address),
		"REGISTRY=registry.example", "REGISTRY="+address,
		// Racks are told of with the preheats' part of the schedulers' values.
		"  config:\n    preheat:", "  config:\n    zones: {rackLabel: "+rackLabel+"}\n    preheat:",
		"{host: registry.example}", fmt.Sprintf("{host: %s, endpoint: %q}", lab.RegistryHost, x.Lab.Registry.Endpoint),
		// The canary asks the registry by its name, which no DNS has.
		"image: registry.example/busybox:1\n", fmt.Sprintf("plainHTTP: true\n  image: %s/pause:1\n", address),
		"repository: registry.example/canary", fmt.Sprintf("repository: %s/canary", address),
		"image.tag=NEW", "image.tag="+newTag,
	)
}

// follow runs commands of the guide as they stand, but for what it leaves to its
// reader.
func (x *cluster) follow(ctx context.Context, t *testing.T, commands string) string {
	t.Helper()
	out, err := x.Shell(ctx, x.guide.clone, x.words().Replace(commands), "PLAIN_HTTP=1")
	if err != nil {
		t.Fatalf("%v\n%s", err, x.describe(ctx))
	}
	return out
}

// change appends to the values that the guide has its reader keep.
func (x *cluster) change(t *testing.T, from, to string) {
	t.Helper()
	file := filepath.Join(x.guide.clone, "values.yaml")
	text, err := os.ReadFile(file)
	if err != nil || strings.Count(string(text), from) != 1 {
		t.Fatalf("values.yaml: %v, want %q in it once:\n%s", err, from, text)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// told fails unless a node's hosts.toml names p2pd.
func told(t *testing.T, n *kube.Node) {
	t.Helper()
	if b, err := os.ReadFile(n.HostsFile(lab.RegistryHost)); err != nil || !strings.Contains(string(b), "http://127.0.0.1:7300") {
		t.Errorf("%s: hosts.toml does not name p2pd: %v\n%s", n.Name, err, b)
	}
}
