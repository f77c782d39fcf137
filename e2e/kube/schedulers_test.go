package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/kube"
	"github.com/p2pd/p2pd/internal/api"
)

// rackLabel is a label of nodes that schedulers are told of (zones.rackLabel).
const rackLabel = "topology.example/rack"

// label says of each node in which rack it is, as operators do, and returns it by the
// node's name.
func (x *cluster) label(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	racks := make(map[string]string)
	for i, n := range x.Nodes {
		racks[n.Name] = fmt.Sprint("r", i/2)
		if _, err := x.Kubectl(ctx, "label", "node", n.Name, rackLabel+"="+racks[n.Name]); err != nil {
			t.Fatal(err)
		}
	}
	return racks
}

// members: each node's p2pd has joined by its pod's token, at all schedulers, and
// the API server has said on which node it is, and in which rack that is.
func (x *cluster) members(ctx context.Context, t *testing.T, racks map[string]string) {
	var want []string
	for _, n := range x.Nodes {
		want = append(want, fmt.Sprintf("%s in rack %q", n.Name, racks[n.Name]))
	}
	slices.Sort(want)
	for i := range schedulers {
		pod := fmt.Sprint("p2pd-scheduler-", i)
		var have []string
		for deadline := time.Now().Add(time.Minute); !slices.Equal(have, want) && time.Now().Before(deadline); time.Sleep(time.Second) {
			text, err := x.Kubectl(ctx, "-n", kube.Namespace, "exec", pod, "--", "/p2pctl", "peer", "ls", "-o", "json")
			if err != nil { // its pod may have been on a node that went
				t.Log(err)
				continue
			}
			var list api.PeerList
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			have = nil
			for _, p := range list.Items {
				have = append(have, fmt.Sprintf("%s in rack %q", p.Node, p.Rack))
			}
			slices.Sort(have)
		}
		if !slices.Equal(have, want) {
			t.Errorf("%s has peers on nodes %v, want %v", pod, have, want)
		}
	}
}

// restartSchedulers: the schedulers' pods are deleted while an image is pulled,
// one after the other.
func (x *cluster) restartSchedulers(ctx context.Context, t *testing.T) {
	img := x.push(ctx, t, "three", 150<<20)
	from := x.mark(ctx, t)
	deleted := make(chan error, 1)
	go func() {
		var err error
		for i := range schedulers {
			if err == nil {
				_, err = x.Kubectl(ctx, "-n", kube.Namespace, "delete", "pod", fmt.Sprint("p2pd-scheduler-", i))
			}
			if err == nil {
				_, err = x.Kubectl(ctx, "-n", kube.Namespace, "rollout", "status", "statefulset/p2pd-scheduler", "--timeout="+rollout)
			}
		}
		deleted <- err
	}()
	x.deploy(ctx, t, "three", img)
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	x.noneFailed(ctx, t)
	copies := float64(x.since(ctx, t, from).BlobBytes) / float64(img.Bytes)
	t.Logf("%.3f origin copies", copies)
	if copies > 1.5 {
		t.Errorf("%.3f copies from the origin, want at most 1.5", copies)
	}
}
