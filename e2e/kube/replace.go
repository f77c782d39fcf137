package kube

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Terminate ends a node as a cloud does whose machine is given back: everything
// on it stops at once, and its object goes. Its place is free for Replace then.
func (c *Cluster) Terminate(ctx context.Context, n *Node) error {
	for _, p := range append(n.network, n.kubelet) {
		p.Kill()
	}
	n.containerd.Kill()
	for _, dir := range c.cgroups(n.Name) {
		if err := removeCgroup(ctx, dir); err != nil {
			return err
		}
	}
	n.holder.Kill()
	// The shims were containerd's, and go last.
	if out, err := exec.CommandContext(ctx, "ip", "netns", "pids", n.Place.Netns).Output(); err == nil && len(strings.Fields(string(out))) > 0 {
		_ = exec.CommandContext(ctx, "kill", append([]string{"-KILL"}, strings.Fields(string(out))...)...).Run()
	}
	// What the network's plugins left would take the port of the next p2pd to
	// where this one was.
	for _, args := range []string{"iptables -t nat -F", "iptables -t nat -X", "ip link del cni0"} {
		fields := strings.Fields(args)
		if _, err := output(n.Place.Command(ctx, fields[0], fields[1:]...)); err != nil {
			return err
		}
	}
	_, err := c.Kubectl(ctx, "delete", "node", n.Name, "--timeout=60s")
	return err
}

// Replace starts a new node, with an empty disk and another name, where a
// terminated one was, and takes its place in Nodes.
func (c *Cluster) Replace(ctx context.Context, old *Node) (*Node, error) {
	n, err := c.startNode(ctx, old.index, c.names(old.index)[1])
	if err != nil {
		return nil, fmt.Errorf("node in place of %s: %w", old.Name, err)
	}
	c.Nodes[old.index] = n
	_, err = c.Kubectl(ctx, "wait", "--for=create", "node/"+n.Name, "--timeout=60s")
	if err == nil {
		_, err = c.Kubectl(ctx, "wait", "--for=condition=Ready", "node/"+n.Name, "--timeout=60s")
	}
	return n, err
}
