//go:build p2pd_faults

package daemon_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/daemon"
)

// While a node's disk fails, a client of its gets the right bytes past the store, at its second
// request at the latest, and once the disk works again as ever.
func TestFaultsFailingDisk(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	t.Setenv("P2PD_FAULT_STORE_EIO", broken)
	u := newUpstream(t, blobSize)
	u.release()
	cfg := nodeConfig(t, u)
	cfg.Access.Modes = daemon.AccessModes{upstreamHost: "open"}
	n, _ := startNode(t, cfg)
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	res, err := client.Get(blobURL(n, u))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // was read
	t.Logf("%s, %d bytes, %v, after %v", res.Status, len(body), err, time.Since(began).Round(time.Millisecond))
	if res.StatusCode == 200 && err == nil && string(body) != string(u.content) {
		t.Error("a transfer that ended well brought other bytes")
	}
	if status, body := get(t, blobURL(n, u)); status != 200 || body != string(u.content) {
		t.Errorf("asked again: %d, %d bytes of %d", status, len(body), len(u.content))
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	until(t, "the node gives the blob", func() bool {
		status, body := get(t, blobURL(n, u))
		return status == 200 && body == string(u.content)
	})
}
