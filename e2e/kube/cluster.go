package kube

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	apiPort    = 6443
	services   = "10.96.0.0/16"
	podPrefix  = "10.83" // of pods' addresses; a third number is a node's
	podNetwork = podPrefix + ".0.0/16"
	etcdPort   = 12379
	adminUser  = "admin"
	// Namespace is where p2pd is installed.
	Namespace = "p2pd"
)

// Cluster is Kubernetes in a lab. Its control plane runs at the lab's scheduler
// place.
type Cluster struct {
	Lab   *lab.Lab
	Nodes []*Node
	// Registries are those that nodes know besides the lab's, and where they are.
	Registries map[string]string

	dir        string
	bin, dns   string
	helm       string
	policies   string
	kubeconfig string
	place      lab.Place
}

// Start starts a cluster with a node at each of the lab's. registries are those
// that nodes know besides the lab's, and where they are.
func Start(ctx context.Context, l *lab.Lab, registries map[string]string) (*Cluster, error) {
	c := &Cluster{Lab: l, Registries: registries, dir: filepath.Join(l.Dir, "kube"), place: l.Net.Scheduler}
	for module, dir := range map[string]*string{"k8s": &c.bin, "coredns": &c.dns, "helm": &c.helm, "policies": &c.policies} {
		at, err := lab.Tool(ctx, module)
		if err != nil {
			return nil, err
		}
		*dir = at
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if err := c.controlPlane(ctx); err != nil {
		return nil, err
	}
	for i := range l.Net.Nodes {
		n, err := c.startNode(ctx, i, c.names(i)[0])
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		c.Nodes = append(c.Nodes, n)
	}
	if err := c.route(ctx); err != nil {
		return nil, err
	}
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Ready", "node", "--all", "--timeout=90s")
	return c, err
}

// names are those of the first node at place i, and of the one that may come after
// it. The API server is told of both as it starts.
func (c *Cluster) names(i int) [2]string {
	name := c.Lab.Net.Nodes[i].Name
	return [2]string{name, name + "-new"}
}

// controlPlane starts etcd, API server, controllers, scheduler and DNS.
func (c *Cluster) controlPlane(ctx context.Context) error {
	key, err := c.signingKey()
	if err != nil {
		return err
	}
	tokens := filepath.Join(c.dir, "tokens.csv")
	text := adminUser + "-token," + adminUser + ",u0,\"system:masters\"\n"
	for i := range c.Lab.Net.Nodes {
		for j, name := range c.names(i) {
			text += fmt.Sprintf("%s-token,system:node:%s,u%d-%d,\"system:nodes\"\n", name, name, i, j)
		}
	}
	if err := os.WriteFile(tokens, []byte(text), 0o600); err != nil {
		return err
	}
	if c.kubeconfig, err = c.writeKubeconfig(adminUser); err != nil {
		return err
	}
	etcd := fmt.Sprintf("http://127.0.0.1:%d", etcdPort)
	peers := fmt.Sprintf("http://127.0.0.1:%d", etcdPort+1)
	if _, err := c.Lab.Start(c.place, lab.Spec{Name: "etcd", Args: []string{
		filepath.Join(c.bin, "server"), "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peers,
		"--initial-advertise-peer-urls", peers, "--initial-cluster", "default=" + peers,
	}}); err != nil {
		return err
	}
	api, err := c.Lab.Start(c.place, lab.Spec{Name: "kube-apiserver", Args: []string{
		filepath.Join(c.bin, "kube-apiserver"), "--etcd-servers=" + etcd, "--bind-address=" + c.place.Addr.String(),
		"--advertise-address=" + c.place.Addr.String(), fmt.Sprintf("--secure-port=%d", apiPort), "--cert-dir=" + filepath.Join(c.dir, "pki"),
		"--token-auth-file=" + tokens, "--authorization-mode=Node,RBAC", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + key, "--service-account-signing-key-file=" + key,
		"--service-cluster-ip-range=" + services, "--allow-privileged=true", "--kubelet-preferred-address-types=InternalIP",
	}})
	if err != nil {
		return err
	}
	if err := api.WaitReady(ctx, func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, "get", "--raw", "/readyz")
		return err
	}); err != nil {
		return err
	}
	for name, args := range map[string][]string{
		"kube-controller-manager": {"--secure-port=12257", "--service-account-private-key-file=" + key, "--node-monitor-grace-period=20s", "--root-ca-file=" + filepath.Join(c.dir, "pki", "apiserver.crt")},
		"kube-scheduler":          {"--secure-port=12259"},
	} {
		args = append([]string{
			filepath.Join(c.bin, name), "--kubeconfig=" + c.kubeconfig, "--bind-address=127.0.0.1", "--cert-dir=" + filepath.Join(c.dir, name),
			"--leader-elect=false",
		}, args...)
		if _, err := c.Lab.Start(c.place, lab.Spec{Name: name, Args: args}); err != nil {
			return err
		}
	}
	return c.startDNS()
}

func (c *Cluster) startDNS() error {
	file := filepath.Join(c.dir, "Corefile")
	text := fmt.Sprintf(".:53 {\n  bind %s\n  errors\n  kubernetes cluster.local {\n    kubeconfig %s\n    ttl 1\n  }\n}\n", c.place.Addr, c.kubeconfig)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	_, err := c.Lab.Start(c.place, lab.Spec{Name: "coredns", Args: []string{filepath.Join(c.dns, "coredns"), "-conf", file}})
	return err
}

// signingKey makes the key of service accounts.
func (c *Cluster) signingKey() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	file := filepath.Join(c.dir, "sa.key")
	return file, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func (c *Cluster) writeKubeconfig(user string) (string, error) {
	file := filepath.Join(c.dir, user+".kubeconfig")
	return file, os.WriteFile(file, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s-token}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`, c.place.At(apiPort), user), 0o600)
}

// Kubectl runs kubectl as the cluster's administrator.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.tool(ctx, "", filepath.Join(c.bin, "kubectl"), args...)
}

// Apply applies manifests. flags are more of kubectl's.
func (c *Cluster) Apply(ctx context.Context, manifests string, flags ...string) error {
	_, err := c.tool(ctx, manifests, filepath.Join(c.bin, "kubectl"), append([]string{"apply", "--validate=strict", "-f", "-"}, flags...)...)
	return err
}

// Helm runs helm as the cluster's administrator.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	return c.tool(ctx, "", filepath.Join(c.helm, "helm"), args...)
}

// Shell runs a script where kubectl and helm know the cluster, in dir, until its first
// command that fails.
func (c *Cluster) Shell(ctx context.Context, dir, script string, env ...string) (string, error) {
	cmd := c.place.Command(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), env...), "KUBECONFIG="+c.kubeconfig, "PATH="+c.bin+":"+c.helm+":"+os.Getenv("PATH"))
	return output(cmd)
}

func (c *Cluster) tool(ctx context.Context, stdin, program string, args ...string) (string, error) {
	cmd := c.place.Command(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "HOME="+c.dir)
	cmd.Stdin = strings.NewReader(stdin)
	return output(cmd)
}

func output(cmd *exec.Cmd) (string, error) {
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(errOut.String()+string(out)))
	}
	return string(out), nil
}
