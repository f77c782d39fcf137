package kube_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/kube"
)

// sorted is a text with its lines in order.
func sorted(text string) string {
	return strings.Join(slices.Sorted(strings.Lines(text)), "")
}

// allPorts are those that p2pd's pods listen at, and whether everybody may reach
// them.
var allPorts = map[string]bool{
	"node:7300": false, "node:7301": false, "node:7302": false, "node:7303": true,
	"scheduler:7310": false, "scheduler:7311": true, "scheduler:7312": false, "scheduler:7313": false, "scheduler:7314": false,
}

// policies: who is none of p2pd reaches health and metrics and, from where the
// values say, the page and preheats; wherever they are. (That peers and schedulers
// reach each other, all the other parts of the test need.)
func (x *cluster) policies(ctx context.Context, t *testing.T) {
	began := time.Now()
	for _, n := range x.Nodes[:nodes-1] {
		x.reach(ctx, t, "others", "client-"+n.Name, allPorts)
	}
	x.reach(ctx, t, kube.Namespace, "client", allPorts)
	with := func(port string) map[string]bool {
		ports := maps.Clone(allPorts)
		ports[port] = true
		return ports
	}
	x.reach(ctx, t, "ingress-nginx", "client", with("scheduler:7314"))
	x.reach(ctx, t, "harbor", "client", with("scheduler:7313"))
	// Nothing but the policies is in the way: one that lets all in does.
	const all = `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: all, namespace: p2pd}, spec: {podSelector: {}, ingress: [{}]}}`
	if err := x.Apply(ctx, all); err != nil {
		t.Fatal(err)
	}
	open := maps.Clone(allPorts)
	for port := range open {
		open[port] = true
	}
	time.Sleep(time.Second) // until each node's watch has it
	x.reach(ctx, t, "others", "client-"+x.Nodes[0].Name, open)
	if _, err := x.Kubectl(ctx, "-n", kube.Namespace, "delete", "networkpolicy", "all"); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d ports of %d peers and %d schedulers tried from %d pods in %.1fs", len(allPorts), nodes, schedulers, nodes+3, time.Since(began).Seconds())
}
