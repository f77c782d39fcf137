package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/daemon"
)

// askNode asks at a node's socket and decodes the answer.
func askNode(t *testing.T, cfg daemon.NodeConfig, method, path, body string, into any) int {
	t.Helper()
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(cfg.Store.Path, "p2pd.sock"))
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://p2pd"+api.Prefix+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

// While a blob arrives a node shows it; then that it holds it, and how it came.
// What is damaged on its disk is found and removed; what is removed is gone.
func TestOperatorsAskANode(t *testing.T) {
	u := newUpstream(t, blobSize)
	cfg := nodeConfig(t, u)
	n, _ := startNode(t, cfg)
	pulled := make(chan []byte, 1)
	go func() {
		res, err := client.Get(blobURL(n, u))
		if err != nil {
			pulled <- nil
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		pulled <- b
	}()
	until(t, "half of the blob is here", func() bool {
		var d api.DownloadList
		askNode(t, cfg, "GET", "/downloads", "", &d)
		return len(d.Items) == 1 && d.Items[0].Digest == u.digest.String() && d.Items[0].Size == blobSize && d.Items[0].Readers == 1 &&
			d.Items[0].Have > 0 && len(d.Items[0].Given) == 1 && d.Items[0].Given[0].From == "origin" && len(d.Items[0].Reads) > 0
	})
	u.release()
	if b := <-pulled; !bytes.Equal(b, u.content) {
		t.Fatalf("pulled %d bytes", len(b))
	}
	var cache api.CacheList
	until(t, "the blob is in the cache", func() bool {
		askNode(t, cfg, "GET", "/cache", "", &cache)
		return len(cache.Items) == 1 && cache.Items[0].Whole && !cache.Items[0].InUse
	})
	if c := cache.Items[0]; c.Digest != u.digest.String() || c.Where != api.WhereStore || c.LastUsed == nil || cache.StoreBytes != blobSize {
		t.Errorf("%+v", cache)
	}
	var e api.Explanation
	askNode(t, cfg, "GET", "/explain/"+u.digest.String(), "", &e)
	var kinds []string
	for _, one := range e.Entries {
		kinds = append(kinds, one.Kind)
	}
	for _, want := range []string{"asked", "joined", "lease", "complete"} {
		if !strings.Contains(strings.Join(kinds, ","), want) {
			t.Errorf("it tells of %v, not of %s", kinds, want)
		}
	}
	if len(e.Given) != 1 || e.Given[0] != (api.Given{From: "origin", Bytes: blobSize}) {
		t.Errorf("given by %+v", e.Given)
	}

	var v api.VerifyResult
	if askNode(t, cfg, "POST", "/cache/verify", "", &v); len(v.Items) != 1 || !v.Items[0].OK || v.Bytes != blobSize || v.Damaged != 0 {
		t.Errorf("%+v", v)
	}
	damage(t, cfg.Store.Path, u.digest.Hex())
	if askNode(t, cfg, "POST", "/cache/verify", "", &v); len(v.Items) != 1 || v.Items[0].OK || v.Damaged != 1 || !strings.Contains(v.Items[0].Message, "it was removed") {
		t.Errorf("%+v", v)
	}
	if status, body := get(t, blobURL(n, u)); status != http.StatusOK || body != string(u.content) {
		t.Fatalf("after the damage: status %d, %d bytes", status, len(body))
	}
	until(t, "the blob can be removed", func() bool {
		askNode(t, cfg, "GET", "/cache", "", &cache)
		return len(cache.Items) == 1 && cache.Items[0].Whole && !cache.Items[0].InUse
	})
	var gone api.PruneResult
	if askNode(t, cfg, "POST", "/cache/prune", `{"unusedFor":"1h"}`, &gone); len(gone.Items) != 0 {
		t.Errorf("pruned what was just used: %+v", gone)
	}
	if askNode(t, cfg, "POST", "/cache/prune", `{"dryRun":true}`, &gone); len(gone.Items) != 1 || gone.Bytes != blobSize {
		t.Errorf("%+v", gone)
	}
	if code := askNode(t, cfg, "DELETE", "/cache/"+u.digest.String(), "", &gone); code != http.StatusOK || len(gone.Items) != 1 {
		t.Errorf("%d %+v", code, gone)
	}
	if askNode(t, cfg, "GET", "/cache", "", &cache); len(cache.Items) != 0 {
		t.Errorf("%+v", cache)
	}
	if code := askNode(t, cfg, "DELETE", "/cache/"+u.digest.String(), "", &gone); code != http.StatusNotFound {
		t.Errorf("removed again: %d", code)
	}
}

// damage changes a byte of a blob on the disk.
func damage(t *testing.T, store, hex string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(store, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() != hex {
			return err
		}
		found++
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte("damage"), 1000)
		return err
	})
	if err != nil || found != 1 {
		t.Fatalf("%d files of %s, %v", found, hex, err)
	}
}

// What a client did not get is told, and what can be done.
func TestOperatorsAskWhyAnImageWasRefused(t *testing.T) {
	cfg := nodeConfig(t, newUpstream(t, 1))
	n, _ := startNode(t, cfg)
	get(t, "http://"+n.MirrorAddr().String()+"/v2/some/image/manifests/1?ns=strange.test")
	var e api.Explanation
	if code := askNode(t, cfg, "GET", "/explain?name=strange.test%2Fsome%2Fimage:1", "", &e); code != http.StatusOK || len(e.Entries) != 1 ||
		e.Entries[0].Kind != "refused" || !strings.Contains(e.Entries[0].Text, "404: ") || !strings.Contains(e.Entries[0].Text, "add it to registries") {
		t.Errorf("%d %+v", code, e)
	}
	var list api.ExplanationList
	if askNode(t, cfg, "GET", "/explain", "", &list); len(list.Items) != 1 || list.Items[0].Name != "strange.test/some/image:1" {
		t.Errorf("%+v", list)
	}
}
