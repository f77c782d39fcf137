package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/throttle"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// noise is n bytes that differ everywhere.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestFetch(t *testing.T) {
	content := noise(3 << 20)
	for name, change := range map[string]func(*Config){
		"TLS":     func(*Config) {},
		"clear":   func(c *Config) { c.ClearBulk = true },
		"limited": func(c *Config) { c.Upload, c.Download = throttle.New(1<<30), throttle.New(1<<30) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, cfg2 := loopback(t), loopback(t)
			change(&cfg)
			change(&cfg2)
			parent, child := launch(t, cfg), launch(t, cfg2)
			d := parent.hold(content)
			for _, r := range [][2]int64{{0, 1}, {0, 3 << 20}, {1 << 20, 1 << 20}, {3<<20 - 5, 5}} {
				got, err := fetchAll(child, parent.Self(), d, r[0], r[1])
				if err != nil || !bytes.Equal(got, content[r[0]:r[0]+r[1]]) {
					t.Errorf("range %v: %d bytes, %v", r, len(got), err)
				}
			}
			for _, id := range parent.children {
				if id != child.Self().ID {
					t.Errorf("child is %s, want %s", id, child.Self().ID)
				}
			}
			if got := child.Stats().FetchConns; got != 1 {
				t.Errorf("four fetches in a row took %d connections, want 1", got)
			}
			eventually(t, "all uploads are closed", func() bool {
				parent.mu.Lock()
				defer parent.mu.Unlock()
				return parent.open == 0
			})
			if got := parent.Stats(); got.ServedBytes != 4<<20+6 || got.Served != 4 {
				t.Errorf("parent counts %+v", got)
			}
		})
	}
}

func TestFetchSendsAFileInTheClear(t *testing.T) {
	content := noise(3<<20 + 11)
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, cfg2 := loopback(t), loopback(t)
	cfg.ClearBulk, cfg2.ClearBulk = true, true
	parent, child := launch(t, cfg), launch(t, cfg2)
	parent.upload = func(_ context.Context, _ scheduler.PeerID, _ piece.Digest, off, n int64) (*peer.Upload, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		if _, err := f.Seek(off, io.SeekStart); err != nil {
			return nil, err
		}
		return peer.NewUpload(&io.LimitedReader{R: f, N: n}, func() { f.Close() }), nil
	}
	got, err := fetchAll(child, parent.Self(), piece.Sum(content), 7, 3<<20)
	if err != nil || !bytes.Equal(got, content[7:7+3<<20]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestFetchErrors(t *testing.T) {
	parent, child := launch(t, loopback(t)), launch(t, loopback(t))
	d := parent.hold(noise(100))
	if _, err := fetchAll(child, parent.Self(), piece.Sum([]byte("other")), 0, 5); !errors.Is(err, peer.ErrNotHeld) {
		t.Errorf("blob that is not there: %v", err)
	}
	if _, err := fetchAll(child, parent.Self(), d, 99, 2); !errors.Is(err, peer.ErrNotHeld) {
		t.Errorf("bytes that are not there: %v", err)
	}
	for _, r := range [][2]int64{{-1, 5}, {0, 0}, {0, maxRange + 1}} {
		if _, err := fetchAll(child, parent.Self(), d, r[0], r[1]); err == nil {
			t.Errorf("range %v was taken", r)
		}
	}
	for _, bad := range []scheduler.Peer{{}, {ID: parent.Self().ID, Bulk: "nowhere"}, {ID: "x", Bulk: parent.Self().Bulk}, closedPort(t)} {
		if _, err := fetchAll(child, bad, d, 0, 5); err == nil {
			t.Errorf("fetch from %+v succeeded", bad)
		}
	}
	parent.mu.Lock()
	parent.upload = func(context.Context, scheduler.PeerID, piece.Digest, int64, int64) (*peer.Upload, error) {
		return nil, peer.ErrBusy
	}
	parent.mu.Unlock()
	if _, err := fetchAll(child, parent.Self(), d, 0, 5); !errors.Is(err, peer.ErrBusy) {
		t.Errorf("busy parent: %v", err)
	}
}

func TestFetchFromTheWrongPeer(t *testing.T) {
	parent, other, child := launch(t, loopback(t)), launch(t, loopback(t)), launch(t, loopback(t))
	d := parent.hold(noise(100))
	if _, err := fetchAll(child, parent.Self(), d, 0, 100); err != nil {
		t.Fatal(err)
	}
	// The pool now holds a connection to that address, of another identity.
	mixed := other.Self()
	mixed.Bulk = parent.Self().Bulk
	if _, err := fetchAll(child, mixed, d, 0, 100); err == nil || !strings.Contains(err.Error(), "peer id mismatch") {
		t.Errorf("fetch of a peer at another's address: %v", err)
	}
	if got := len(parent.children); got != 1 {
		t.Errorf("parent had %d requests, want 1", got)
	}
}

func TestUploadThatBreaksIsAnError(t *testing.T) {
	parent, child := launch(t, loopback(t)), launch(t, loopback(t))
	for name, r := range map[string]io.Reader{
		"short":  bytes.NewReader(noise(500_000)),
		"broken": io.MultiReader(bytes.NewReader(noise(500_000)), errReader{}),
	} {
		parent.mu.Lock()
		parent.upload = func(context.Context, scheduler.PeerID, piece.Digest, int64, int64) (*peer.Upload, error) {
			return peer.NewUpload(r, func() {}), nil
		}
		parent.mu.Unlock()
		got, err := fetchAll(child, parent.Self(), piece.Digest{1}, 0, 1_000_000)
		if err == nil {
			t.Errorf("%s: %d bytes and no error", name, len(got))
		}
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestCancelInTheMiddleOfABody(t *testing.T) {
	parent, child := launch(t, loopback(t)), launch(t, loopback(t))
	gate, done := make(chan struct{}), make(chan struct{})
	parent.upload = func(ctx context.Context, _ scheduler.PeerID, _ piece.Digest, _, n int64) (*peer.Upload, error) {
		r := io.MultiReader(bytes.NewReader(noise(bulkBuffer)), &gatedReader{ctx: ctx, gate: gate})
		return peer.NewUpload(r, func() { close(done) }), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	body, err := child.Fetch(ctx, parent.Self(), piece.Digest{1}, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadFull(body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, body); !errors.Is(err, context.Canceled) {
		t.Errorf("body ends with %v", err)
	}
	await(t, done, "end of the upload") // its context ended with the connection
	eventually(t, "the connection is closed", func() bool { return parent.Stats().ServeConns == 0 })
}

// gatedReader yields nothing until ctx ends.
type gatedReader struct {
	ctx  context.Context
	gate <-chan struct{}
}

func (g *gatedReader) Read([]byte) (int, error) {
	select {
	case <-g.gate:
		return 0, io.EOF
	case <-g.ctx.Done():
		return 0, g.ctx.Err()
	}
}

func TestRunEndsWhileBodiesFlow(t *testing.T) {
	for _, who := range []string{"parent", "child"} {
		t.Run(who, func(t *testing.T) {
			parent, child := launch(t, loopback(t)), launch(t, loopback(t))
			parent.upload = func(ctx context.Context, _ scheduler.PeerID, _ piece.Digest, _, _ int64) (*peer.Upload, error) {
				return peer.NewUpload(io.MultiReader(bytes.NewReader(noise(bulkBuffer)), &gatedReader{ctx: ctx}), func() {}), nil
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			body, err := child.Fetch(ctx, parent.Self(), piece.Digest{1}, 0, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			map[string]*node{"parent": parent, "child": child}[who].stop()
			if n, err := io.Copy(io.Discard, body); err == nil {
				t.Errorf("%d bytes and no error", n)
			}
		})
	}
}

func TestChildThatStopsReadingLosesItsSlot(t *testing.T) {
	for name, r := range map[string]func() io.Reader{
		"copied": func() io.Reader { return zeros{} },
		"file":   func() io.Reader { return &io.LimitedReader{R: zeros{}, N: maxRange} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := loopback(t)
			cfg.ClearBulk = true
			tr, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			tr.server.stall = 50 * time.Millisecond
			parent, done := run(t, tr, cfg), make(chan struct{})
			parent.upload = func(context.Context, scheduler.PeerID, piece.Digest, int64, int64) (*peer.Upload, error) {
				return peer.NewUpload(r(), func() { close(done) }), nil
			}
			c, err := net.Dial("tcp", parent.Self().Bulk)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprintf(c, "GET %s%s HTTP/1.1\r\nHost: x\r\nRange: bytes=0-%d\r\n%s: %s\r\n\r\n",
				blobPath, piece.Digest{1}, maxRange-1, childHeader, parent.Self().ID)
			await(t, done, "end of the upload")
		})
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestServeConnsAreBounded(t *testing.T) {
	cfg := loopback(t)
	cfg.Limits.ServeConns = 1
	parent, first, second := launch(t, cfg), launch(t, loopback(t)), launch(t, loopback(t))
	d := parent.hold(noise(10))
	if _, err := fetchAll(first, parent.Self(), d, 0, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := fetchAll(second, parent.Self(), d, 0, 10); err == nil {
		t.Error("a second connection was taken")
	}
	if got := parent.Stats(); got.ConnsRefused == 0 {
		t.Errorf("no connection was refused: %+v", got)
	}
	first.stop()
	eventually(t, "the place is free again", func() bool {
		_, err := fetchAll(second, parent.Self(), d, 0, 10)
		return err == nil
	})
}

func TestBadRequests(t *testing.T) {
	cfg := loopback(t)
	cfg.ClearBulk = true
	parent := launch(t, cfg)
	d := parent.hold(noise(100))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(method, path, ranges, child string) int {
		req, err := http.NewRequest(method, "http://"+parent.Self().Bulk+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Range", ranges)
		req.Header.Set(childHeader, child)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	good, id := blobPath+d.String(), string(parent.Self().ID)
	got := []int{
		ask("GET", good, "bytes=0-99", id),
		ask("GET", good, "bytes=0-99", "nobody"),
		ask("GET", good, "", id),
		ask("POST", good, "bytes=0-99", id),
		ask("GET", "/v1/blobs/sha256:00", "bytes=0-99", id),
		ask("GET", "/", "bytes=0-99", id),
	}
	if diff := cmp.Diff([]int{206, 403, 400, 400, 400, 400}, got); diff != "" {
		t.Errorf("statuses differ (-want +got):\n%s", diff)
	}
}

func TestParseRange(t *testing.T) {
	for s, want := range map[string][2]int64{
		"bytes=0-0":                         {0, 1},
		"bytes=5-14":                        {5, 10},
		"bytes=0-67108863":                  {0, maxRange},
		"bytes=0-67108864":                  {},
		"bytes=9-8":                         {},
		"bytes=-5":                          {},
		"bytes=5-":                          {},
		"bytes=0-1,3-4":                     {},
		"bytes=+0-1":                        {},
		"bytes= 0-1":                        {},
		"0-1":                               {},
		"":                                  {},
		"bytes=1099511627775-1099511627775": {piece.MaxBlobSize - 1, 1},
		"bytes=1099511627776-1099511627776": {},
		"bytes=0-99999999999999999999":      {},
	} {
		off, n, err := parseRange(s)
		if [2]int64{off, n} != want || (err == nil) != (want[1] > 0) {
			t.Errorf("%q is %d bytes at %d, %v; want %v", s, n, off, err, want)
		}
	}
}

func TestRouteTellsPeersApart(t *testing.T) {
	id := string(closedPort(t).ID)
	for _, bulk := range []string{"10.0.0.1:5082", "[fd00::1]:5082", "node-1.example:5082", "[fe80::1%eth0]:1"} {
		route, err := routeTo(scheduler.Peer{ID: scheduler.PeerID(id), Bulk: bulk})
		if err != nil {
			t.Fatal(err)
		}
		gotID, address, err := parseRoute(route)
		if err != nil || gotID.String() != id || address != bulk {
			t.Errorf("%s became %s %s, %v", bulk, gotID, address, err)
		}
	}
}

// What comes from and goes to other zones has limits of its own. Here they let
// nothing more through after the first burst, and the fetch runs out of time.
func TestLimitsBetweenZones(t *testing.T) {
	content := noise(4 * throttle.Burst)
	for name, limit := range map[string]func(parent, child *Config){
		"at the child":  func(_, child *Config) { child.FarDownload = throttle.New(1) },
		"at the parent": func(parent, _ *Config) { parent.FarUpload = throttle.New(1) },
	} {
		for zone, passes := range map[string]bool{"a": true, "b": false, "": true} {
			t.Run(name+" in zone "+zone, func(t *testing.T) {
				cfg, cfg2 := loopback(t), loopback(t)
				cfg.Zone, cfg2.Zone = "a", zone
				limit(&cfg, &cfg2)
				parent, child := launch(t, cfg), launch(t, cfg2)
				d := parent.hold(content)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if !passes {
					ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
				}
				defer cancel()
				body, err := child.Fetch(ctx, parent.Self(), d, 0, int64(len(content)))
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close()
				got, err := io.ReadAll(body)
				if passes && (err != nil || !bytes.Equal(got, content)) || !passes && err == nil {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
	}
}
