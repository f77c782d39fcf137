package kube

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/p2pd/p2pd/e2e/lab"
)

// policyQueue is the netfilter queue where policies are judged (e2e/policies).
const policyQueue = "100"

// connect gives a node what takes packets to Services, and what holds them against
// network policies.
func (n *Node) connect(ctx context.Context, c *Cluster) error {
	for _, args := range []string{
		"sysctl -qw net.ipv4.ip_forward=1",
		// Pods of one node speak through a bridge; they are routed, too.
		"sysctl -qw net.bridge.bridge-nf-call-iptables=1",
		// The first packet of each connection is judged, but for what the node's own
		// root begins: the kubelet's probes, and containerd's pulls. The kernel must
		// know NFQUEUE in iptables; kube-network-policies' own rules need more.
		"iptables -t mangle -F POSTROUTING",
		"iptables -t mangle -A POSTROUTING -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
		"iptables -t mangle -A POSTROUTING -m owner --uid-owner 0 -j ACCEPT",
		"iptables -t mangle -A POSTROUTING -p tcp -j NFQUEUE --queue-num " + policyQueue,
		"iptables -t mangle -A POSTROUTING -p udp -j NFQUEUE --queue-num " + policyQueue,
	} {
		fields := strings.Fields(args)
		if _, err := output(n.Place.Command(ctx, fields[0], fields[1:]...)); err != nil {
			return err
		}
	}
	for name, args := range map[string][]string{
		"proxy": {
			filepath.Join(c.bin, "kube-proxy"), "--kubeconfig=" + c.kubeconfig, "--hostname-override=" + n.Name, "--proxy-mode=iptables",
			"--cluster-cidr=" + podNetwork, "--iptables-localhost-nodeports=false", "--iptables-min-sync-period=100ms",
			"--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249",
			"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
		},
		"policies": {filepath.Join(c.policies, "policies"), "--kubeconfig=" + c.kubeconfig, "--node=" + n.Name},
	} {
		p, err := c.Lab.Start(n.Place, lab.Spec{Name: n.Name + "-" + name, Args: args})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		n.network = append(n.network, p)
	}
	return nil
}
