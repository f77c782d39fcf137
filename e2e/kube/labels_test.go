package kube_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/kube"
	"github.com/p2pd/p2pd/internal/api"
)

// heatLabelled: a preheat takes the one node that has the labels which the guide asks
// for, by the right that the chart gives schedulers, and says why where there is none.
func (x *cluster) heatLabelled(ctx context.Context, t *testing.T) {
	img := x.push(ctx, t, "labelled", 40<<20)
	create := strings.ReplaceAll(x.guide.blocks["Preheats by node labels"][0], "registry.example/prod/app:v7", img.Reference())
	one, other := x.Nodes[1].Name, x.Nodes[2].Name
	// The other one is left out by the second half of the selector.
	for _, labels := range [][]string{{one, "gpu=true"}, {other, "gpu=true", "spot="}} {
		if _, err := x.Kubectl(ctx, append([]string{"label", "node"}, labels...)...); err != nil {
			t.Fatal(err)
		}
	}
	from := x.mark(ctx, t)
	said := x.follow(ctx, t, create)
	copies := float64(x.since(ctx, t, from).BlobBytes) / float64(img.Bytes)
	text, err := x.preheat(ctx, "ls", "-o", "json")
	var list api.PreheatList
	if err == nil {
		err = json.Unmarshal([]byte(text), &list)
	}
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("%v: %s", err, text)
	}
	if j := list.Items[0]; j.Image != img.Reference() || j.State != api.PreheatSucceeded || j.Nodes != 1 || j.Done != 1 || j.Selector != "gpu=true,!spot" || !strings.Contains(said, one) {
		t.Errorf("the job is %+v, want %s alone in\n%s", j, one, said)
	}
	t.Logf("%d MiB on the one node with such labels: %.3f origin copies", img.Bytes>>20, copies)
	for selector, want := range map[string]string{"gpu in": "the API server does not take", "gpu=none": "no node of the Kubernetes cluster fits"} {
		if out, err := x.preheat(ctx, "create", img.Reference(), "--selector", selector); err == nil || !strings.Contains(out+err.Error(), want) {
			t.Errorf("selector %q: %v, want %q\n%s", selector, err, want, out)
		}
	}
	for _, name := range []string{one, other} {
		if _, err := x.Kubectl(ctx, "label", "node", name, "gpu-", "spot-"); err != nil {
			t.Error(err)
		}
	}
}

// preheat asks a scheduler as an operator does.
func (x *cluster) preheat(ctx context.Context, args ...string) (string, error) {
	return x.Kubectl(ctx, append([]string{"-n", kube.Namespace, "exec", "p2pd-scheduler-0", "--", "/p2pctl", "preheat"}, args...)...)
}
