package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"golang.org/x/sync/errgroup"
)

// picturedNodes pull the image of docs/pictures.
const picturedNodes = 16

// Sixteen nodes pull an image, and at one moment of it a terminal with p2pctl swarm top
// and the live page show the same: the layer's peers by its pieces. With P2PD_PICTURES
// both are written there; docs/p2pctl.md shows them.
func TestThePageAndTheTerminal(t *testing.T) {
	b := startBrowser(t, 1280, 1000, false)
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, picturedNodes, true, "--limits-download", "3MiB")
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(96<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.push(t, "16", img).Manifest()
	if err != nil {
		t.Fatal(err)
	}
	blob := m.Layers[0].Digest
	b.open("http://" + c.server + "/ui/#/swarm/" + blob.String())
	b.until("!document.getElementById('login').hidden")
	b.eval(fmt.Sprintf("document.getElementById('token').value = %q; document.getElementById('login').requestSubmit()", strings.TrimSpace(string(token))))
	var pulls errgroup.Group
	for i := range c.nodes {
		pulls.Go(func() error { return c.pullImage(i, "16", m) })
	}
	b.until(fmt.Sprintf("document.getElementById('memberRows').rows.length === %d", picturedNodes))
	screen := c.terminal(t, 160, picturedNodes+6, "swarm", "top", blob.Hex[:12])
	b.until(fmt.Sprintf("Number(document.getElementById('heat').getAttribute('aria-label').match(/([0-9]+) %%/)[1]) >= %d", 30))
	b.shoot("swarm.png")
	text := screen()
	if lines := strings.Count(text, "zone-"); lines != picturedNodes || !strings.Contains(text, "█") || !strings.Contains(text, fmt.Sprint(picturedNodes, " members")) {
		t.Errorf("the terminal shows %d nodes:\n%s", lines, text)
	}
	t.Logf("the terminal:\n%s", text)
	if dir := os.Getenv("P2PD_PICTURES"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "swarm-top.txt"), []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
	if err := pulls.Wait(); err != nil {
		t.Fatal(err)
	}
}

// terminal runs p2pctl in one of so many columns and rows; screen is what it shows.
func (c *cluster) terminal(t *testing.T, columns, rows int, args ...string) (screen func() string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "tmux")
	tmux := func(args ...string) ([]byte, error) {
		cmd := exec.Command("tmux", append([]string{"-u", "-S", socket}, args...)...) //nolint:gosec // the test's own
		cmd.Env = append(os.Environ(), asProgram+"=p2pctl", "TERM=xterm-256color")
		return cmd.CombinedOutput()
	}
	program := append([]string{"new-session", "-d", "-x", fmt.Sprint(columns), "-y", fmt.Sprint(rows), self}, args...)
	if out, err := tmux(append(program, "--server", c.server, "--token-file", c.tokenFile)...); err != nil {
		t.Fatalf("tmux: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := tmux("kill-server"); err != nil {
			t.Errorf("tmux: %v: %s", err, out)
		}
	})
	return func() string {
		t.Helper()
		out, err := tmux("capture-pane", "-p")
		if err != nil {
			t.Fatalf("tmux: %v: %s", err, out)
		}
		return strings.TrimRight(string(out), "\n") + "\n"
	}
}

// ranged is a registry that serves parts of blobs, as large ones do.
func ranged(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/sha256:") {
			h.ServeHTTP(w, r)
			return
		}
		whole := r.Clone(r.Context())
		whole.Header.Del("Range")
		all := httptest.NewRecorder()
		h.ServeHTTP(all, whole)
		if all.Code != http.StatusOK {
			w.WriteHeader(all.Code)
			_, _ = w.Write(all.Body.Bytes()) // who asked may be gone
			return
		}
		for _, name := range []string{"Content-Type", "Docker-Content-Digest"} {
			w.Header().Set(name, all.Header().Get(name))
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(all.Body.Bytes()))
	})
}
