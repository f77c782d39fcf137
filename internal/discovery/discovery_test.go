package discovery

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ds "github.com/ipfs/go-datastore"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/network"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; nothing that works comes near it.
const patience = 30 * time.Second

// launch runs a peer on a host of its own on loopback until the test ends, or
// until the returned function is called.
func launch(t *testing.T, cfg Config) (*Discovery, scheduler.Peer, func()) {
	t.Helper()
	h, err := libp2p.New(
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.DisableRelay(), libp2p.DisableMetrics(), libp2p.Ping(false), libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}), libp2p.ForceReachabilityPublic(), libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.QUICReuse(quicreuse.NewConnManager, quicreuse.DisableReuseport()),
	)
	if err != nil {
		t.Fatal(err)
	}
	self := scheduler.Peer{ID: scheduler.PeerID(h.ID().String()), Addrs: []string{h.Addrs()[0].String()}, Bulk: "127.0.0.1:1", Zone: "z", Rack: "r"}
	cfg.Host, cfg.Self = h, self
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, h.Close()); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return d, self, stop
}

func addressOf(p scheduler.Peer) string { return p.Addrs[0] + "/p2p/" + string(p.ID) }

// eventually waits until ok.
func eventually(t *testing.T, ok func() bool) bool {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// waitFor waits until a peer knows so many others.
func waitFor(t *testing.T, d *Discovery, peers int) {
	t.Helper()
	if !eventually(t, func() bool { return d.Stats().Peers >= peers }) {
		t.Fatalf("knows %d peers after %v, want %d", d.Stats().Peers, patience, peers)
	}
}

func TestDirectory(t *testing.T) {
	peertest.TestDirectory(t, func(t *testing.T, n int) []peertest.Seat {
		var seats []peertest.Seat
		var first []string
		for range n {
			d, self, _ := launch(t, Config{Bootstrap: first})
			seats = append(seats, peertest.Seat{Self: self, Directory: d})
			first = []string{addressOf(self)}
		}
		for _, s := range seats {
			waitFor(t, s.Directory.(*Discovery), n-1)
		}
		return seats
	})
}

// Who is named by host and port only is found, whoever it is.
func TestBootstrapByAddress(t *testing.T) {
	a, self, _ := launch(t, Config{})
	parts := strings.Split(self.Addrs[0], "/") // /ip4/127.0.0.1/tcp/PORT
	b, _, _ := launch(t, Config{Bootstrap: []string{"localhost:" + parts[4]}})
	waitFor(t, b, 1)
	waitFor(t, a, 1)
}

// A peer that was known before is found again after a restart, with nothing
// configured.
func TestKnownPeersOutliveARestart(t *testing.T) {
	a, self, _ := launch(t, Config{})
	file := filepath.Join(t.TempDir(), "peers")
	b, _, stop := launch(t, Config{File: file, Bootstrap: []string{addressOf(self)}})
	waitFor(t, b, 1)
	stop()
	again, _, _ := launch(t, Config{File: file})
	waitFor(t, again, 1)
	k := peer.Key{Digest: piece.Sum([]byte("x"))}
	if err := again.Announce(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	found := eventually(t, func() bool { found, _ := a.Find(t.Context(), k, 10); return len(found) == 1 })
	if !found {
		t.Error("who announced after its restart is not found")
	}
}

// Alone, nobody is found, and that is no wait.
func TestAlone(t *testing.T) {
	d, _, _ := launch(t, Config{})
	k := peer.Key{Digest: piece.Sum([]byte("x"))}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := d.Announce(ctx, k); err == nil {
		t.Error("announced to nobody")
	}
	if found, err := d.Find(ctx, k, 10); err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if ctx.Err() != nil {
		t.Error("waited for nobody")
	}
}

// A peer that is found and does not run any more is left out.
func TestWhoIsGoneIsLeftOut(t *testing.T) {
	a, self, _ := launch(t, Config{})
	b, _, stop := launch(t, Config{Bootstrap: []string{addressOf(self)}})
	c, _, _ := launch(t, Config{Bootstrap: []string{addressOf(self)}})
	for _, d := range []*Discovery{a, b, c} {
		waitFor(t, d, 2)
	}
	k := peer.Key{Digest: piece.Sum([]byte("x"))}
	if err := b.Announce(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if !eventually(t, func() bool { found, _ := c.Find(t.Context(), k, 10); return len(found) == 1 }) {
		t.Fatal("is not found while it runs")
	}
	stop()
	if !eventually(t, func() bool { found, err := c.Find(t.Context(), k, 10); return err == nil && len(found) == 0 }) {
		t.Error("is found though it is gone")
	}
}

func TestRecordsAreBounded(t *testing.T) {
	r := newRecords(2)
	put := func(k string) error { return r.Put(t.Context(), ds.NewKey(k), []byte("v")) }
	for _, k := range []string{"a", "b", "b"} {
		if err := put(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("c"); err == nil {
		t.Error("a third record was taken")
	}
	for range 2 {
		if err := r.Delete(t.Context(), ds.NewKey("a")); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("c"); err != nil || r.count() != 2 {
		t.Errorf("after one was deleted: %v, %d records", err, r.count())
	}
}

func TestBootstrapEntries(t *testing.T) {
	const id = "12D3KooWLfWfUV2RB8sAjKsqiMCBwUJXKVAVDrQGkSNkdTAcLqYw"
	for s, good := range map[string]bool{
		"p2pd.kube-system.svc:7301":           true,
		"10.0.0.1:7301":                       true,
		"[fd00::1]:7301":                      true,
		"/ip4/10.0.0.1/tcp/7301":              false,
		"/ip4/10.0.0.1/udp/7301/quic-v1":      false,
		"/unix/var/run/x":                     false,
		"p2pd":                                false,
		":7301":                               false,
		"p2pd:0":                              false,
		"":                                    false,
		"/ip4/10.0.0.1/tcp/7301/p2p/nobody":   false,
		"/ip4/0.0.0.0/tcp/7301/p2p/" + id:     false,
		"/ip4/10.0.0.1/tcp/7301/ws/p2p/" + id: false,
		"/dns/p2pd.example/tcp/7301/p2p/" + "bad": false,
	} {
		if err := CheckBootstrap(s); (err == nil) != good {
			t.Errorf("%q: %v, want good: %v", s, err, good)
		}
	}
	_, self, _ := launch(t, Config{})
	if err := CheckBootstrap(addressOf(self)); err != nil {
		t.Error(err)
	}
	infos := parseKnown([]byte("garbage\n" + addressOf(self) + "\n" + addressOf(self) + "\n"))
	if got := parseKnown(formatKnown(infos)); cmp.Diff(string(formatKnown(got)), string(formatKnown(infos))) != "" || len(got) != 1 {
		t.Errorf("read back %v, want %v", got, infos)
	}
}

// Those whom somebody names are begun with, though nobody was configured; what
// is no peer is passed over.
func TestBeginWithThoseWhoAreNamed(t *testing.T) {
	a, self, _ := launch(t, Config{})
	b, other, _ := launch(t, Config{})
	c, _, _ := launch(t, Config{})
	b.Meet([]scheduler.Peer{{ID: "nobody", Addrs: []string{"/ip4/127.0.0.1/tcp/1", "nonsense"}}, self})
	waitFor(t, b, 1)
	c.Meet([]scheduler.Peer{other})
	for _, d := range []*Discovery{a, b, c} {
		waitFor(t, d, 2)
	}
}
