package daemon_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/p2pd/p2pd/internal/daemon"
	"github.com/p2pd/p2pd/pkg/piece"
)

// socketClient speaks HTTP over a socket.
func socketClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, ExpectContinueTimeout: patience,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
}

// runImport runs p2pd import against a node's socket.
func runImport(t *testing.T, socket string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = daemon.NodeMain(t.Context(), append([]string{"import", "--local-socket", socket}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// An image without any registry: imported at one node, pulled at another.
func TestImport(t *testing.T) {
	u := newTenants(t) // knows nothing of the image
	var sockets []string
	mirrors, _ := u.cluster(t, 2, func(c *daemon.NodeConfig) {
		c.Access.Modes = daemon.AccessModes{"images.internal": "open"}
		c.AllowAllRegistries = true
		sockets = append(sockets, filepath.Join(c.Store.Path, "p2pd.sock"))
	})
	img, err := random.Image(3<<20, 2)
	if err != nil {
		t.Fatal(err)
	}
	archive := t.TempDir()
	path, err := layout.Write(archive, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	manifest, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(sockets[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	for _, want := range []string{"4 blobs", "of them 0.0 MiB new"} {
		code, stdout, stderr := runImport(t, sockets[0], archive, "--name", "images.internal/app:1")
		if ref := "images.internal/app@" + piece.Sum(manifest).String(); code != 0 || !strings.Contains(stdout, ref) || !strings.Contains(stderr, want) {
			t.Fatalf("exit %d: %s%s; want %q and %s", code, stdout, stderr, want, ref)
		}
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"manifests/" + piece.Sum(manifest).String(): manifest}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		want["blobs/"+piece.Sum(content).String()] = content
	}
	for path, content := range want {
		res, err := client.Get(fmt.Sprintf("http://%s/v2/app/%s?ns=images.internal", mirrors[1], path))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !bytes.Equal(got, content) {
			t.Errorf("%s: status %d, %d bytes: %.300s, %v", path, res.StatusCode, len(got), got, err)
		}
	}
	if len(u.asked) > 0 {
		t.Errorf("a registry was asked: %v", u.asked)
	}
}

// What is not a blob is not taken, and leaves nothing behind.
func TestWhatCannotBePut(t *testing.T) {
	u := newUpstream(t, 1)
	cfg := nodeConfig(t, u)
	cfg.Store.Capacity = 1 << 20
	startNode(t, cfg)
	socket := filepath.Join(cfg.Store.Path, "p2pd.sock")
	c := socketClient(socket)
	good := bytes.Repeat([]byte("x"), 300_000)
	d := piece.Sum(good)
	put := func(digest string, body io.Reader, length int64) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://p2pd/v1/blobs/"+digest, body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("Expect", "100-continue")
		res, err := c.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		said, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(said)
	}
	for name, tt := range map[string]struct {
		digest string
		body   io.Reader
		length int64
		status int
	}{
		"not a digest": {"sha256:12", bytes.NewReader(good), 300_000, http.StatusBadRequest},
		"no length":    {d.String(), io.MultiReader(bytes.NewReader(good)), -1, http.StatusLengthRequired},
		"false bytes":  {d.String(), bytes.NewReader(bytes.Repeat([]byte("y"), 300_000)), 300_000, http.StatusUnprocessableEntity},
		"no room":      {piece.Sum([]byte("big")).String(), bytes.NewReader(make([]byte, 2<<20)), 2 << 20, http.StatusInsufficientStorage},
	} {
		if status, said := put(tt.digest, tt.body, tt.length); status != tt.status {
			t.Errorf("%s: status %d, %s; want %d", name, status, said, tt.status)
		}
	}
	if status, said := put(d.String(), bytes.NewReader(good), 300_000); status != http.StatusCreated {
		t.Errorf("true bytes after false ones: status %d, %s", status, said)
	}
	if status, said := put(d.String(), bytes.NewReader(good), 300_000); status != http.StatusOK {
		t.Errorf("once more: status %d, %s", status, said)
	}
}

func TestImportIsRefused(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.sock")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no daemon":   {[]string{dir}, 1, "no p2pd answers at " + none},
		"no archive":  {[]string{text}, 1, text},
		"no argument": {nil, 2, "accepts 1 arg"},
		"bad name":    {[]string{dir, "--name", "app:1"}, 2, `--name "app:1"`},
	} {
		if code, _, stderr := runImport(t, none, tt.args...); code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit %d, %s", name, code, stderr)
		}
	}
}

// A socket that a killed process left does not stop the next one; one that is
// in use does.
func TestSocketIsTaken(t *testing.T) {
	u := newUpstream(t, 1)
	cfg := nodeConfig(t, u)
	cfg.Local.Socket = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: cfg.Local.Socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if _, err := daemon.NewNode(cfg, "test", logger(t)); err == nil || !strings.Contains(err.Error(), "another p2pd listens") {
		t.Errorf("with a socket in use: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	startNode(t, cfg)
	cfg.Local.Socket = "/" + strings.Repeat("x", 200)
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "local.socket") {
		t.Errorf("an endless name: %v", err)
	}
}
