package daemon_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/daemon"
)

const blobSize = 4 << 20

// Without a scheduler a node works alone against the origin.
func TestANodeAlone(t *testing.T) {
	u := newUpstream(t, blobSize)
	u.release()
	n, _ := startNode(t, nodeConfig(t, u))

	admin := "http://" + n.HTTPAddr().String()
	for range 2 { // the second time from the store
		status, body := get(t, blobURL(n, u))
		if status != http.StatusOK || body != string(u.content) {
			t.Fatalf("status %d, %d bytes", status, len(body))
		}
		u.Close()
		until(t, "the blob is whole in the store", func() bool {
			_, page := get(t, admin+"/metrics")
			return sample(t, page, "p2pd_cache_blobs") == "1"
		})
	}

	if status, body := get(t, admin+"/livez"); status != http.StatusOK || body != "ok" {
		t.Errorf("/livez: %d %q", status, body)
	}
	if status, body := get(t, admin+"/readyz"); status != http.StatusOK || body != "ok" {
		t.Errorf("/readyz: %d %q", status, body)
	}
	_, body := get(t, admin+"/readyz?verbose")
	for _, line := range []string{"[+]shutdown ok\n", "[+]store ok\n", "[+]mirror ok\n", "[+]scheduler not needed: ", "readyz check passed\n"} {
		if !strings.Contains(body, line) {
			t.Errorf("/readyz?verbose has no %q:\n%s", line, body)
		}
	}
	if status, _ := get(t, admin+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("the profiler answers %d though it is off", status)
	}

	_, page := get(t, admin+"/metrics")
	size := strconv.FormatFloat(blobSize, 'g', -1, 64)
	for name, want := range map[string]string{
		`p2pd_bytes_total{direction="received",scope="origin",source="origin"}`:           size,
		`p2pd_bytes_total{direction="received",scope="zone",source="peer"}`:               "0",
		`p2pd_bytes_total{direction="sent",scope="client",source="download"}`:             size,
		`p2pd_bytes_total{direction="sent",scope="client",source="cache"}`:                size,
		`p2pd_pull_requests_total{kind="blob",outcome="served",registry="registry.test"}`: "2",
		`p2pd_cache_bytes{of="whole"}`:                                                    size,
		`p2pd_scheduler_connected`:                                                        "0",
		`p2pd_downloads_active`:                                                           "0",
		`p2pd_build_info{go="` + runtime.Version() + `",version="v0.0.0-test"}`:           "1",
	} {
		if got := sample(t, page, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(page, "go_goroutines") || !strings.Contains(page, "process_open_fds") {
		t.Error("the runtime's and the process's metrics are missing")
	}
}

// A node finds at another node what the origin cannot give any more.
func TestNodesAndAScheduler(t *testing.T) {
	u := newUpstream(t, blobSize)
	u.release()
	hub := startHub(t)

	var nodes [2]*daemon.Node
	for i := range nodes {
		cfg := nodeConfig(t, u)
		hub.lets(&cfg)
		// Without an origin there is nobody to prove a right to.
		cfg.Access.Modes = daemon.AccessModes{upstreamHost: "open"}
		nodes[i], _ = startNode(t, cfg)
		until(t, "the scheduler is attached", func() bool {
			_, page := get(t, "http://"+nodes[i].HTTPAddr().String()+"/metrics")
			return sample(t, page, "p2pd_scheduler_connected") == "1"
		})
	}
	if _, body := get(t, blobURL(nodes[0], u)); body != string(u.content) {
		t.Fatalf("first node: %d bytes", len(body))
	}
	u.Close()
	until(t, "the second node has the blob", func() bool {
		status, body := get(t, blobURL(nodes[1], u))
		return status == http.StatusOK && body == string(u.content)
	})

	size := strconv.FormatFloat(blobSize, 'g', -1, 64)
	_, page := get(t, "http://"+nodes[1].HTTPAddr().String()+"/metrics")
	if got := sample(t, page, `p2pd_bytes_total{direction="received",scope="zone",source="peer"}`); got != size {
		t.Errorf("received %s from the peer, want %s", got, size)
	}
	_, page = get(t, "http://"+nodes[0].HTTPAddr().String()+"/metrics")
	if got := sample(t, page, `p2pd_bytes_total{direction="sent",scope="peer",source="cache"}`); got != size {
		t.Errorf("served %s to the peer, want %s", got, size)
	}
	_, page = get(t, "http://"+hub.HTTPAddr().String()+"/metrics")
	for name, want := range map[string]string{
		"p2psched_peers": "2", "p2psched_swarms": "1", `p2psched_events_total{kind="hello"}`: "2",
	} {
		if got := sample(t, page, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if status, body := get(t, "http://"+hub.HTTPAddr().String()+"/readyz?verbose"); status != http.StatusOK || !strings.Contains(body, "[+]scheduler ok") {
		t.Errorf("scheduler's /readyz: %d %q", status, body)
	}
}

// What a node gives up for other blobs it leaves the swarm of: nobody is to be
// sent to a seed that has nothing.
func TestTheSchedulerHearsOfEvictions(t *testing.T) {
	u, other := newUpstream(t, blobSize), newUpstream(t, blobSize-1)
	u.release()
	other.release()
	hub := startHub(t)
	cfg := nodeConfig(t, u)
	hub.lets(&cfg)
	cfg.Store.Capacity = 3 * blobSize / 2
	cfg.Registries = append(cfg.Registries, cfg.Registries[0])
	cfg.Registries[1].Host, cfg.Registries[1].Endpoint = "other.test", other.URL
	n, _ := startNode(t, cfg)
	swarms := func(left, want string) func() bool {
		return func() bool {
			_, page := get(t, "http://"+hub.HTTPAddr().String()+"/metrics")
			return strings.Contains(page, `p2psched_events_total{kind="leave"} `+left+"\n") && sample(t, page, "p2psched_swarms") == want
		}
	}
	until(t, "the scheduler is attached", func() bool {
		_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
		return sample(t, page, "p2pd_scheduler_connected") == "1"
	})
	if _, body := get(t, blobURL(n, u)); body != string(u.content) {
		t.Fatalf("%d bytes", len(body))
	}
	until(t, "the node is a seed", swarms("0", "1"))
	url := strings.Replace(blobURL(n, other), upstreamHost, "other.test", 1)
	until(t, "the other blob is here", func() bool { // the first is open for a moment
		status, body := get(t, url)
		return status == http.StatusOK && body == string(other.content)
	})
	until(t, "the node has left the first blob's swarm", swarms("1", "1"))
}

// One process can be node and scheduler, and then attaches to itself.
func TestEmbeddedScheduler(t *testing.T) {
	cfg := nodeConfig(t, newUpstream(t, 1))
	cfg.EmbeddedScheduler = daemon.EmbeddedConfig{Enabled: true, Membership: "token", Listen: "127.0.0.1:0"}
	cfg.HTTP.Pprof = true
	n, _ := startNode(t, cfg)
	until(t, "the node is attached to its own scheduler", func() bool {
		_, body := get(t, "http://"+n.HTTPAddr().String()+"/readyz?verbose")
		return strings.Contains(body, "[+]scheduler ok")
	})
	until(t, "the scheduler counts the node", func() bool {
		_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
		return sample(t, page, "p2psched_peers") == "1"
	})
	if status, _ := get(t, "http://"+n.HTTPAddr().String()+"/debug/pprof/"); status != http.StatusOK {
		t.Errorf("the profiler answers %d though it is on", status)
	}
}

// A stopping node takes no new requests, says so, and finishes those that are
// running, while pieces still arrive.
func TestStopFinishesRunningTransfers(t *testing.T) {
	u := newUpstream(t, blobSize)
	n, r := startNode(t, nodeConfig(t, u))
	res, err := client.Get(blobURL(n, u))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	first := make([]byte, 1<<20)
	if _, err := io.ReadFull(res.Body, first); err != nil {
		t.Fatal(err)
	}

	r.stop()
	until(t, "no new request is taken", func() bool {
		conn, err := net.Dial("tcp", n.MirrorAddr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	status, body := get(t, "http://"+n.HTTPAddr().String()+"/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "[-]shutdown failed: shutting down") {
		t.Errorf("/readyz while stopping: %d %q", status, body)
	}
	if status, _ := get(t, "http://"+n.HTTPAddr().String()+"/livez"); status != http.StatusOK {
		t.Errorf("/livez while stopping: %d", status)
	}

	u.release()
	rest, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Equal(slices.Concat(first, rest), u.content) {
		t.Errorf("%d bytes of %d, %v", len(first)+len(rest), len(u.content), err)
	}
	r.wait(t)
}

// What cannot be opened fails at once, names its key, and leaves nothing open.
func TestWhatCannotBeOpened(t *testing.T) {
	u := newUpstream(t, 1)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for key, set := range map[string]func(*daemon.NodeConfig){
		"store.path":    func(c *daemon.NodeConfig) { c.Store.Path = "/dev/null/x" },
		"peer":          func(c *daemon.NodeConfig) { c.Peer.BulkListen = taken.Addr().String() },
		"mirror.listen": func(c *daemon.NodeConfig) { c.Mirror.Listen = taken.Addr().String() },
		"http.listen":   func(c *daemon.NodeConfig) { c.HTTP.Listen = taken.Addr().String() },
		"embeddedScheduler.listen": func(c *daemon.NodeConfig) {
			c.EmbeddedScheduler = daemon.EmbeddedConfig{Enabled: true, Membership: "token", Listen: taken.Addr().String()}
		},
	} {
		t.Run(key, func(t *testing.T) {
			cfg := nodeConfig(t, u)
			good := cfg
			set(&cfg)
			if _, err := daemon.NewNode(cfg, "", logger(t)); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
				t.Fatalf("error %v, want one about %s", err, key)
			}
			if cfg.Store.Path == good.Store.Path {
				startNode(t, good) // the store was given back
			}
		})
	}
}
