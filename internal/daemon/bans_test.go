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

	"github.com/p2pd/p2pd/internal/cluster"
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
	key, configs := twoHubs(t)
	for i, cfg := range configs {
		sockets[i] = strings.TrimPrefix(cfg.Admin.Listen, "unix://")
		startHubOf(t, cfg)
	}
	token, err := key.Mint(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	return sockets, func(c *daemon.NodeConfig) { c.Scheduler.Address, c.Membership.TokenFile = configs[0].Listen, file }
}

// twoHubs configures two schedulers of one cluster.
func twoHubs(t *testing.T) (key member.Key, configs [2]daemon.HubConfig) {
	t.Helper()
	key, err := member.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PEM()
	if err != nil {
		t.Fatal(err)
	}
	gossip := port(t)
	for i := range configs {
		dir := t.TempDir()
		cfg := daemon.DefaultHubConfig()
		cfg.Listen, cfg.HTTP.Listen, cfg.Admin.Listen = port(t), "127.0.0.1:0", "unix://"+filepath.Join(dir, "s")
		cfg.Membership.KeyFile = filepath.Join(dir, "cluster.key")
		cfg.Fleet = daemon.FleetConfig{Listen: gossip, Seeds: daemon.Names{gossip}, Advertise: cfg.Listen}
		if i > 0 {
			cfg.Fleet.Listen = port(t)
		}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(cfg.Membership.KeyFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		configs[i] = cfg
	}
	return key, configs
}

// startHubOf runs a scheduler until the test ends, or it is waited for.
func startHubOf(t *testing.T, cfg daemon.HubConfig) *running {
	t.Helper()
	h, err := daemon.NewHub(cfg, "v0.0.0-test", logger(t))
	if err != nil {
		t.Fatal(err)
	}
	return start(t, h.Run)
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

// What a scheduler was told it knows after a restart, and what it missed meanwhile it
// hears; what members' blames led to at another one it does not heed; a ban that has been lifted does not come back with a scheduler that has not heard
// of that, and a ban that lasts is not lifted by one.
func TestTheLastWordOnAPeerHolds(t *testing.T) {
	key, configs := twoHubs(t)
	const stolen, mistaken, blamed = "12D3KooWStolen", "12D3KooWMistaken", "12D3KooWBlamed"
	socket := func(i int) string { return strings.TrimPrefix(configs[i].Admin.Listen, "unix://") }
	banned := func(i int, peer string) bool {
		_, body := onSocket(t, socket(i), "/api/v1/peers/"+peer)
		return strings.Contains(string(body), `"ban"`)
	}
	first := startHubOf(t, configs[0])
	second := startHubOf(t, configs[1])
	for _, p := range []string{stolen, mistaken} {
		order(t, socket(0), http.MethodPost, "/api/v1/peers/"+p+"/ban", `{"for": "1h", "reason": "x"}`)
		until(t, "the second scheduler knows", func() bool { return banned(1, p) })
	}
	second.wait(t)
	order(t, socket(0), http.MethodDelete, "/api/v1/peers/"+mistaken+"/ban", "")
	second = startHubOf(t, configs[1])
	until(t, "the one that was away knows the last words", func() bool { return banned(1, stolen) && !banned(1, mistaken) })

	// Both are away at a time: nobody could tell them.
	first.wait(t)
	second.wait(t)
	startHubOf(t, configs[0])
	if !banned(0, stolen) || banned(0, mistaken) {
		t.Error("after a restart of all, the bans are other ones")
	}

	// One comes that has been cut off since before the ban was lifted.
	stale := make(chan struct{}, 1)
	old := time.Now().Add(-time.Minute)
	news := fmt.Sprintf(`[{"peer":%q,"at":%q,"until":%q,"reason":"old"}, {"peer":%q,"at":%q,"until":"0001-01-01T00:00:00Z"}, {"peer":%q,"at":%q,"until":%q,"reason":"blamed elsewhere","blamed":true}, {"peer":"12D3KooWOther","until":%q}]`,
		mistaken, old.Format(time.RFC3339Nano), old.Add(time.Hour).Format(time.RFC3339Nano), stolen, old.Format(time.RFC3339Nano),
		blamed, old.Format(time.RFC3339Nano), old.Add(5*time.Minute).Format(time.RFC3339Nano), old.Add(time.Hour).Format(time.RFC3339Nano))
	c, err := cluster.New(cluster.Config{
		Name: "stale:1", Listen: "127.0.0.1:0", Seeds: []string{configs[0].Fleet.Listen}, Key: key.GossipKey(), News: func(bool) []byte { return []byte(news) },
		Heard: func([]byte) {
			select {
			case stale <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	start(t, func(ctx context.Context) error { return c.Run(ctx, func([]string) {}) })
	<-stale
	until(t, "what it says was heard", func() bool { return banned(0, "12D3KooWOther") })
	if !banned(0, stolen) || banned(0, mistaken) {
		t.Error("words that are old were heeded")
	}
	if banned(0, blamed) {
		t.Error("what members blamed a peer for at another scheduler puts it out here")
	}
}
