package daemon_test

import (
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/daemon"
)

// In a strict cluster members give each other what a scheduler has given them a ticket for. A
// member that shows none, or whose scheduler gives none, gets nothing from them, and what its
// client wants from the origin.
func TestAStrictCluster(t *testing.T) {
	u := newUpstream(t, blobSize)
	u.release()
	strict := startHubWith(t, func(c *daemon.HubConfig) { c.Membership.Strict = true })
	node := func(edit func(*daemon.NodeConfig)) *daemon.Node {
		cfg := nodeConfig(t, u)
		strict.lets(&cfg)
		cfg.Access.Modes = daemon.AccessModes{upstreamHost: "open"}
		cfg.Membership.Strict = true
		edit(&cfg)
		n, _ := startNode(t, cfg)
		until(t, "the node is attached", func() bool {
			_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
			return sample(t, page, "p2pd_scheduler_connected") == "1"
		})
		return n
	}
	fromPeers := func(n *daemon.Node) string {
		if _, body := get(t, blobURL(n, u)); body != string(u.content) {
			t.Fatalf("%d bytes", len(body))
		}
		_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
		return sample(t, page, `p2pd_bytes_total{direction="received",scope="zone",source="peer"}`)
	}
	node(func(*daemon.NodeConfig) {}) // asks nobody for anything
	fromPeers(node(func(*daemon.NodeConfig) {}))
	if got := fromPeers(node(func(c *daemon.NodeConfig) { c.Membership.Strict = false })); got != "0" {
		t.Errorf("a member that shows no ticket got %s bytes from peers", got)
	}
	if got := fromPeers(node(func(*daemon.NodeConfig) {})); got == "0" {
		t.Error("a member with a ticket got nothing from peers")
	}
}

// What cannot be strict says so.
func TestStrictNeedsAClosedCluster(t *testing.T) {
	n := daemon.DefaultNodeConfig()
	n.Membership.Strict = true
	h := daemon.DefaultHubConfig()
	h.Membership.Mode, h.Membership.Strict = "open", true
	for _, err := range []error{n.Validate(), h.Validate()} {
		if err == nil || !strings.Contains(err.Error(), "membership.strict") {
			t.Errorf("%v", err)
		}
	}
}
