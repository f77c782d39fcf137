package daemon_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/p2pd/p2pd/internal/daemon"
)

// number is a sample of a node's metrics.
func number(t *testing.T, n *daemon.Node, name string) float64 {
	t.Helper()
	_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
	v, err := strconv.ParseFloat(sample(t, page, name), 64)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return v
}

// Daemons without any scheduler, that have never met and are asked for the same
// at once, share the origin.
func TestStrangersShareTheOrigin(t *testing.T) {
	const nodes, size = 6, 24 << 20
	u := newUpstream(t, size)
	u.release()
	var all []*daemon.Node
	for i := range nodes {
		cfg := nodeConfig(t, u)
		if i > 0 {
			addr := strings.Split(all[0].Self().Addrs[0], "/") // /ip4/127.0.0.1/tcp/PORT
			cfg.Discovery.Bootstrap = daemon.Names{"127.0.0.1:" + addr[4]}
		}
		n, _ := startNode(t, cfg)
		all = append(all, n)
	}
	for _, n := range all {
		until(t, "it knows the others", func() bool { return number(t, n, "p2pd_discovery_peers") == nodes-1 })
	}
	var wg sync.WaitGroup
	for _, n := range all {
		wg.Go(func() {
			if status, body := get(t, blobURL(n, u)); status != 200 || body != string(u.content) {
				t.Errorf("status %d, %d bytes", status, len(body))
			}
		})
	}
	wg.Wait()
	copies := 0.0
	for _, n := range all {
		copies += number(t, n, `p2pd_bytes_total{direction="received",scope="origin",source="origin"}`) / size
		if number(t, n, "p2pd_discovery_announcements_total") == 0 {
			t.Error("a node announced nothing")
		}
	}
	t.Logf("origin %.2f copies", copies)
	if copies > 2 {
		t.Errorf("origin gave %.2f copies, want 2 at most", copies)
	}
}
