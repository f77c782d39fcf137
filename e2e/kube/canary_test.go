package kube_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// canary: the first run of the canary on some node succeeds, and its metrics say so.
func (x *cluster) canary(ctx context.Context, t *testing.T) {
	x.follow(ctx, t, x.guide.blocks["A canary"][0])
	x.get(ctx, t, "deployment/p2pd-canary", "{.metadata.name}")
	at := x.get(ctx, t, "pods", `{.items[?(@.metadata.labels.app\.kubernetes\.io/component=="canary")].status.hostIP}`)
	client := x.Lab.Net.Scheduler.HTTPClient()
	client.Timeout = 10 * time.Second
	var text string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+":7315/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(r)
		if err != nil {
			text = err.Error() // its container has just begun
			continue
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
		if strings.Contains(text, `p2pd_canary_runs_total{outcome="success"} 1`) {
			return
		}
		if !strings.Contains(text, `p2pd_canary_runs_total{outcome="failure"} 0`) {
			break
		}
	}
	said, err := x.Kubectl(ctx, "-n", "p2pd", "logs", "deployment/p2pd-canary")
	t.Errorf("the canary's first run did not succeed:\n%s\n%v\n%s", text, err, said)
}
