package kube

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/p2pd/p2pd/e2e/lab"
)

// PauseImage is what keeps a pod's namespaces.
const PauseImage = lab.RegistryHost + "/pause:1"

// own are the folders that each node has for itself.
var own = []string{
	"/etc/containerd", "/etc/cni/net.d", "/run/containerd", "/run/netns", "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/cni",
	"/var/lib/p2pd", "/var/log/pods", "/var/log/containers",
}

// Node is a kubelet and a containerd.
type Node struct {
	Name  string
	Place lab.Place

	dir    string
	index  int          // of its place in the lab
	holder *lab.Process // has the mount namespace
	// They end with the lab, or in Terminate.
	containerd, kubelet *lab.Process
	network             []*lab.Process // what takes its pods to Services, and keeps others from them
	pods                string         // the network of its pods, as 10.83.1
}

// Path is where a file of the node's is seen from outside.
func (n *Node) Path(name string) string { return filepath.Join(n.dir, "root", name) }

// Command is a program on the node.
func (n *Node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	enter := n.enter(name, args...)
	return n.Place.Command(ctx, enter[0], enter[1:]...)
}

func (n *Node) enter(name string, args ...string) []string {
	return append([]string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", n.holder.PID()), "--", name}, args...)
}

// startNode makes a node at place i. Its name is one that the API server has been
// told of (Cluster.names).
func (c *Cluster) startNode(ctx context.Context, i int, name string) (*Node, error) {
	p := c.Lab.Net.Nodes[i]
	n := &Node{Name: name, Place: p, dir: filepath.Join(c.dir, name), index: i, pods: fmt.Sprintf("%s.%d", podPrefix, i+1)}
	var binds strings.Builder
	for _, dir := range own {
		// A folder that the machine lacks is made, and stays: it is empty.
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(n.Path(dir), 0o755); err != nil {
			return nil, err
		}
		fmt.Fprintf(&binds, "mount --bind %s %s && ", n.Path(dir), dir)
	}
	if err := n.configure(c); err != nil {
		return nil, err
	}
	ready := filepath.Join(n.dir, "ready")
	var err error
	n.holder, err = c.Lab.Start(p, lab.Spec{Name: n.Name + "-mounts", Args: []string{
		"unshare", "--mount", "--propagation=private", "sh", "-c", binds.String() + "touch " + ready + " && exec sleep infinity",
	}})
	if err != nil {
		return nil, err
	}
	if err := n.holder.WaitReady(ctx, func(context.Context) error { _, err := os.Stat(ready); return err }); err != nil {
		return nil, err
	}
	n.containerd, err = c.Lab.Start(p, lab.Spec{
		Name: n.Name + "-containerd", Env: []string{c.path()},
		Args: n.enter(filepath.Join(c.Lab.Programs.Tools, "containerd"), "--config", "/etc/containerd/config.toml"),
	})
	if err != nil {
		return nil, err
	}
	if err := n.containerd.WaitReady(ctx, func(ctx context.Context) error {
		_, err := n.Ctr(ctx, c, "version")
		return err
	}); err != nil {
		return nil, err
	}
	if err := n.StartKubelet(c); err != nil {
		return nil, err
	}
	return n, n.connect(ctx, c)
}

// path is where containerd and kubelet find programs.
func (c *Cluster) path() string {
	return "PATH=" + c.Lab.Programs.Tools + ":/usr/sbin:/usr/bin:/sbin:/bin"
}

// StartKubelet starts the node's kubelet, for the first time or after StopKubelet.
func (n *Node) StartKubelet(c *Cluster) error {
	var err error
	n.kubelet, err = c.Lab.Start(n.Place, lab.Spec{
		Name: n.Name + "-kubelet", Env: []string{c.path()},
		Args: n.enter(filepath.Join(c.bin, "kubelet"), "--config="+filepath.Join(n.dir, "kubelet.yaml"), "--kubeconfig="+filepath.Join(c.dir, n.Name+".kubeconfig"),
			"--hostname-override="+n.Name, "--node-ip="+n.Place.Addr.String(), "--node-labels=topology.kubernetes.io/zone=z"+fmt.Sprint(n.index%2)),
	})
	return err
}

// StopKubelet kills the node's kubelet. Its pods run on.
func (n *Node) StopKubelet() { n.kubelet.Kill() }

// Task is the process of a container, by its ID.
func (n *Node) Task(ctx context.Context, c *Cluster, id string) (pid string, err error) {
	out, err := n.Ctr(ctx, c, "tasks", "ls")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == id {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("container %s has no process on %s: %s", id, n.Name, out)
}

// Ctr runs containerd's own client on the node.
func (n *Node) Ctr(ctx context.Context, c *Cluster, args ...string) (string, error) {
	return output(n.Command(ctx, filepath.Join(c.Lab.Programs.Tools, "ctr"), append([]string{"-n", "k8s.io"}, args...)...))
}

// configure writes what containerd, its network plugins and the kubelet read.
func (n *Node) configure(c *Cluster) error {
	if _, err := c.writeKubeconfig(n.Name); err != nil {
		return err
	}
	group, err := c.cgroup(n.Name)
	if err != nil {
		return err
	}
	for file, text := range map[string]string{
		n.HostsFile(lab.RegistryHost):            HostsToml(c.Lab.Registry.Endpoint),
		n.Path("/etc/containerd/config.toml"):    containerdConfig,
		n.Path("/etc/cni/net.d/10-lab.conflist"): fmt.Sprintf(cniConfig, n.pods),
		filepath.Join(n.dir, "kubelet.yaml"):     fmt.Sprintf(kubeletConfig, n.Place.Addr, group, c.place.Addr),
		filepath.Join(n.dir, "resolv.conf"):      "",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for host, endpoint := range c.Registries {
		if err := os.MkdirAll(filepath.Dir(n.HostsFile(host)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(n.HostsFile(host), []byte(HostsToml(endpoint)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// HostsFile is where the node's hosts.toml for a registry is seen from outside.
func (n *Node) HostsFile(registry string) string {
	return filepath.Join(n.Path("/etc/containerd"), "certs.d", registry, "hosts.toml")
}

// HostsToml is the hosts.toml that each node has before p2pd comes.
func HostsToml(endpoint string) string {
	return fmt.Sprintf("# Of this cluster's operators.\nserver = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", endpoint, endpoint)
}

// route lets pods reach each other, the registry and the control plane.
func (c *Cluster) route(ctx context.Context) error {
	places := append([]lab.Place{c.Lab.Net.Origin, c.Lab.Net.Scheduler}, c.Lab.Net.Nodes...)
	for _, p := range places {
		for _, n := range c.Nodes {
			if n.Place.Name == p.Name {
				continue
			}
			if _, err := output(p.Command(ctx, "ip", "route", "add", n.pods+".0/24", "via", n.Place.Addr.String())); err != nil {
				return err
			}
		}
	}
	return nil
}
