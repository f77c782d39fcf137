package kube_test

import (
	"context"
	"fmt"
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
	x.willReach(ctx, t, "others", "client-"+x.Nodes[0].Name, open)
	if _, err := x.Kubectl(ctx, "-n", kube.Namespace, "delete", "networkpolicy", "all"); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d ports of %d peers and %d schedulers tried from %d pods in %.1fs", len(allPorts), nodes, schedulers, nodes+3, time.Since(began).Seconds())
}

// reach fails unless a pod reaches those ports of all peers and schedulers that are to be
// open to it, and no others.
func (x *cluster) reach(ctx context.Context, t *testing.T, namespace, pod string, ports map[string]bool) {
	t.Helper()
	if have, want := x.reached(ctx, t, namespace, pod, ports); have != want {
		t.Errorf("%s/%s reaches\n%s\nwant\n%s", namespace, pod, have, want)
	}
}

// willReach is reach once each node has heard of a change of the policies.
func (x *cluster) willReach(ctx context.Context, t *testing.T, namespace, pod string, ports map[string]bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		have, want := x.reached(ctx, t, namespace, pod, ports)
		if have == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s/%s still reaches\n%s\nwant\n%s", namespace, pod, have, want)
		}
	}
}

// reached is which of those ports of all peers and schedulers a pod reaches, and which
// are to be open to it.
func (x *cluster) reached(ctx context.Context, t *testing.T, namespace, pod string, ports map[string]bool) (have, want string) {
	t.Helper()
	var script, open strings.Builder
	for _, component := range []string{"node", "scheduler"} {
		out, err := x.Kubectl(ctx, "-n", kube.Namespace, "get", "pods", "-l", "app.kubernetes.io/component="+component, "-o", `jsonpath={range .items[*]}{.status.podIP}{"\n"}{end}`)
		if err != nil {
			t.Fatal(err)
		}
		for ip := range strings.FieldsSeq(out) {
			for port, is := range ports {
				if of, number, _ := strings.Cut(port, ":"); of == component {
					fmt.Fprintf(&script, "(busybox nc -w 3 %s %s -e true 2>/dev/null && echo %s %s) & ", ip, number, port, ip)
					if is {
						fmt.Fprintf(&open, "%s %s\n", port, ip)
					}
				}
			}
		}
	}
	out, err := x.from(ctx, namespace, pod, script.String()+"wait")
	if err != nil {
		t.Fatal(err)
	}
	return sorted(out), sorted(open.String())
}
