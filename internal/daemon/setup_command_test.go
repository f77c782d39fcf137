package daemon

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/p2pd/p2pd/internal/mirror"
)

// p2pdAt runs the program over a node's file system.
func p2pdAt(t *testing.T, root string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = NodeMain(t.Context(), append(args, "--root", root), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestSetupCommand(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/containerd"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(root, "etc/containerd/config.toml")
	if code, _, errOut := p2pdAt(t, root, "setup", "--no-probe"); code != exitFailed || !strings.Contains(errOut, "config_path") {
		t.Errorf("without a config_path: %d, %s", code, errOut)
	}
	if err := os.WriteFile(config, []byte("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(root, "etc/containerd/certs.d/_default/hosts.toml")
	if code, out, errOut := p2pdAt(t, root, "setup", "--no-probe", "--mirror-listen", "127.0.0.1:7399"); code != 0 || !strings.Contains(out, "written") {
		t.Errorf("setup: %d, %s%s", code, out, errOut)
	}
	if text, err := os.ReadFile(hosts); err != nil || !strings.Contains(string(text), `[host."http://127.0.0.1:7399"]`) {
		t.Errorf("%s, %v", text, err)
	}
	if code, out, _ := p2pdAt(t, root, "status", "--mirror-listen", "127.0.0.1:7399", "-o", "json"); code != 0 || !strings.Contains(out, `"state": "p2pd"`) {
		t.Errorf("status: %d, %s", code, out)
	}
	if code, out, _ := p2pdAt(t, root, "restore"); code != 0 || !strings.Contains(out, "removed") {
		t.Errorf("restore: %d, %s", code, out)
	}
	if _, err := os.Stat(filepath.Dir(filepath.Dir(hosts))); !os.IsNotExist(err) {
		t.Errorf("certs.d is still there: %v", err)
	}
	for _, bad := range [][]string{{"setup", "--runtime", "rkt"}, {"status", "-o", "xml"}, {"setup", "extra"}} {
		if code, _, errOut := p2pdAt(t, root, bad...); code != exitUsage || errOut == "" {
			t.Errorf("%q: %d, %s", bad, code, errOut)
		}
	}
}

// watched tells when somebody waits for the end of a context.
type watched struct {
	context.Context
	waited chan struct{}
	once   sync.Once
}

func (w *watched) Done() <-chan struct{} {
	w.once.Do(func() { close(w.waited) })
	return w.Context.Done()
}

// A pod of a DaemonSet restores, says so, and stays.
func TestRestoreStays(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "etc/containerd/certs.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	config := []byte("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n")
	if err := os.WriteFile(filepath.Join(root, "etc/containerd/config.toml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	w := &watched{Context: ctx, waited: make(chan struct{})}
	var out bytes.Buffer
	ended := make(chan int, 1)
	go func() { ended <- NodeMain(w, []string{"restore", "--stay", "--root", root}, &out, io.Discard) }()
	select {
	case code := <-ended:
		t.Fatalf("it ended with %d by itself", code)
	case <-w.waited:
	}
	if out.String() != "nothing to do\n" {
		t.Errorf("it said %q", out.String())
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

func TestProbe(t *testing.T) {
	served := func(server string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", server) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := probe(t.Context(), free); err != nil {
		t.Errorf("nobody: %v", err)
	}
	if err := probe(t.Context(), served(mirror.Server)); err != nil {
		t.Errorf("p2pd: %v", err)
	}
	if err := probe(t.Context(), served("nginx")); err == nil || !strings.Contains(err.Error(), "not p2pd") {
		t.Errorf("somebody else: %v", err)
	}
}
