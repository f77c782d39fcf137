package daemon_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/daemon"
	"github.com/p2pd/p2pd/internal/member"
)

// port is one that was free a moment ago.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// pair starts two schedulers of one cluster and returns where operators ask
// them, and what lets a node join.
func pair(t *testing.T) (sockets [2]string, lets func(*daemon.NodeConfig)) {
	t.Helper()
	dir := t.TempDir()
	var grpc, gossip [2]string
	for i := range 2 {
		grpc[i], gossip[i] = port(t), port(t)
	}
	for i := range 2 {
		sockets[i] = filepath.Join(dir, fmt.Sprint("s", i))
		cfg := daemon.DefaultHubConfig()
		cfg.Listen, cfg.HTTP.Listen, cfg.Admin.Listen = grpc[i], "127.0.0.1:0", "unix://"+sockets[i]
		cfg.Membership.KeyFile = filepath.Join(dir, "cluster.key")
		cfg.Fleet = daemon.FleetConfig{Listen: gossip[i], Seeds: daemon.Names{gossip[0]}, Advertise: grpc[i]}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		h, err := daemon.NewHub(cfg, "v0.0.0-test", logger(t))
		if err != nil {
			t.Fatal(err)
		}
		start(t, h.Run)
	}
	key, _, err := member.OpenKey(filepath.Join(dir, "cluster.key"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := key.Mint(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(token.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	return sockets, func(c *daemon.NodeConfig) { c.Scheduler.Address, c.Membership.TokenFile = grpc[0], file }
}

// order has an operator change something.
func order(t *testing.T, socket, method, path, body string) {
	t.Helper()
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://p2pd"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, res.Status)
	}
}

// A peer that is banned at one of two schedulers is banned at both, and no other
// peer has anything to do with it, until the ban is lifted.
func TestABanHoldsEverywhere(t *testing.T) {
	u := newUpstream(t, blobSize)
	u.release()
	sockets, lets := pair(t)
	var nodes [2]*daemon.Node
	for i := range nodes {
		cfg := nodeConfig(t, u)
		lets(&cfg)
		cfg.Access.Modes = daemon.AccessModes{upstreamHost: "open"}
		nodes[i], _ = startNode(t, cfg)
		until(t, "both schedulers are attached", func() bool {
			_, page := get(t, "http://"+nodes[i].HTTPAddr().String()+"/metrics")
			return sample(t, page, "p2pd_schedulers") == "2"
		})
	}
	if _, body := get(t, blobURL(nodes[0], u)); body != string(u.content) {
		t.Fatalf("first node: %d bytes", len(body))
	}
	u.Close()

	banned := "/api/v1/peers/" + string(nodes[1].Self().ID)
	order(t, sockets[0], http.MethodPost, banned+"/ban", `{"for": "1h", "reason": "it is stolen"}`)
	until(t, "the other scheduler knows", func() bool {
		_, body := onSocket(t, sockets[1], banned)
		return strings.Contains(string(body), "it is stolen")
	})
	if status, _ := get(t, blobURL(nodes[1], u)); status == http.StatusOK {
		t.Error("a banned peer got what only another one has")
	}
	_, page := get(t, "http://"+nodes[0].HTTPAddr().String()+"/metrics")
	if got := sample(t, page, `p2pd_bytes_total{direction="sent",scope="peer",source="cache"}`); got != "0" {
		t.Errorf("%s bytes were served to a banned peer", got)
	}

	order(t, sockets[1], http.MethodDelete, banned+"/ban", "")
	until(t, "the peer gets the blob once it is let in again", func() bool {
		status, body := get(t, blobURL(nodes[1], u))
		return status == http.StatusOK && body == string(u.content)
	})
}
