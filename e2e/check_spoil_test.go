package e2e

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/internal/api"
)

// file is the name of a file that was made.
func file(t *testing.T) func(name string, err error) string {
	return func(name string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
}

// takePort has another program where p2pd's mirror was, so that p2pd does not
// start.
func takePort(t *testing.T, w *ward) (heal func()) {
	t.Helper()
	w.nodes[0].Kill()
	at, _ := strings.CutPrefix(w.MirrorURL(0), "http://")
	l, err := w.Net.Nodes[0].Listen(w.ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Server", "nginx")
		rw.WriteHeader(http.StatusNotFound)
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	if _, err := w.StartNode(w.ctx, 0); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("p2pd beside another program at its port: %v", err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(srv.Close(), <-served); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		w.startNode(t, 0)
	}
}

// ip runs ip(8) in the first node's namespace.
func (w *ward) ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := w.Net.Nodes[0].Command(w.ctx, "ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// closePorts has the second node hold an image whose pieces the first one cannot
// fetch: what goes to the second one's port for pieces is lost on the way, as
// behind a firewall that drops it.
func closePorts(t *testing.T, w *ward) (heal func()) {
	t.Helper()
	cmd := w.Net.Nodes[1].Command(w.ctx, programs(t).P2PCtl, "check", "--image", w.host+"/far:1", "--insecure", "--node", w.socket(1), "--containerd-config", w.containerd.Config())
	if out, err := cmd.CombinedOutput(); !strings.Contains(string(out), "√ a layer comes through p2pd") {
		t.Fatalf("%v: %s", err, out)
	}
	const table, nobody = "77", "10.77.9.9" // a router that is not there
	w.ip(t, "route", "add", w.Net.Nodes[1].Addr.String(), "via", nobody, "dev", "eth0", "table", table)
	rule := []string{"to", w.Net.Nodes[1].Addr.String(), "ipproto", "tcp", "dport", "7302", "table", table}
	w.ip(t, append([]string{"rule", "add"}, rule...)...)
	return func() {
		w.ip(t, append([]string{"rule", "del"}, rule...)...)
		w.ip(t, "route", "flush", "table", table)
	}
}

// reject has nothing that leaves the first node reach an address.
func (w *ward) reject(t *testing.T, addr string) (heal func()) {
	t.Helper()
	w.ip(t, "route", "add", "unreachable", addr)
	return func() { w.ip(t, "route", "del", "unreachable", addr) }
}

// loseLayers has the registry lose the layers of an image.
func (w *ward) loseLayers(t *testing.T) (heal func()) {
	t.Helper()
	for _, b := range w.lost.Blobs[1:] { // the first is the configuration
		if err := os.Remove(w.BlobFile(b.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	return func() {} // nobody else pulls it
}

// logIn is docker login at the registry that wants a password.
func logIn(t *testing.T, w *ward) (heal func()) {
	t.Helper()
	auth := strings.TrimPrefix(lab.Alice().Basic(), "Basic ")
	text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, strings.TrimPrefix(w.secure.Endpoint, "https://"), auth)
	name := filepath.Join(w.docker, "config.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// forgetCredential takes the first node's credential away.
func (w *ward) forgetCredential(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(w.Dir, w.Net.Nodes[0].Name, "store", "credential")); err != nil {
		t.Fatal(err)
	}
}

// ban has the scheduler keep the first node out.
func ban(t *testing.T, w *ward) (heal func()) {
	t.Helper()
	ctl := func(args ...string) {
		t.Helper()
		cmd := w.Net.Nodes[0].Command(w.ctx, programs(t).P2PCtl, append([]string{"--server", w.admin()}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("p2pctl %v: %v: %s", args, err, out)
		}
	}
	id := w.status(t).ID
	ctl("peer", "ban", id, "--reason", "its disk is broken")
	return func() { ctl("peer", "unban", id); w.waitConnected(t) }
}

// status is what the first node's p2pd says of itself.
func (w *ward) status(t *testing.T) api.NodeStatus {
	t.Helper()
	st, err := w.askStatus(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func (w *ward) askStatus(ctx context.Context) (api.NodeStatus, error) {
	socket := strings.TrimPrefix(w.socket(0), "unix://")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://p2pd"+api.Prefix+"/status", http.NoBody)
	if err != nil {
		return api.NodeStatus{}, err
	}
	res, err := client.Do(r)
	if err != nil {
		return api.NodeStatus{}, err
	}
	defer res.Body.Close()
	var st api.Status
	if err := json.NewDecoder(res.Body).Decode(&st); err != nil || st.Node == nil {
		return api.NodeStatus{}, fmt.Errorf("no status of p2pd: %w", err)
	}
	return *st.Node, nil
}

// waitTrouble waits until p2pd knows why it gets no scheduler: that one has just
// gone, be it with the end of its stream or with a reset, does not say.
func (w *ward) waitTrouble(t *testing.T) {
	t.Helper()
	w.wait(t, func(st api.NodeStatus) bool {
		return !st.Connected && st.SchedulerTrouble != "" && !strings.Contains(st.SchedulerTrouble, "is gone")
	})
}

func (w *ward) waitConnected(t *testing.T) {
	t.Helper()
	w.wait(t, func(st api.NodeStatus) bool { return st.Connected })
}

func (w *ward) wait(t *testing.T, is func(api.NodeStatus) bool) {
	t.Helper()
	if err := w.nodes[0].WaitReady(w.ctx, func(ctx context.Context) error {
		st, err := w.askStatus(ctx)
		if err == nil && !is(st) {
			err = fmt.Errorf("not yet: %+v", st)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// reversioned is a copy of a program that was built as another version: its name
// for it, which the linker has put in, is another one of the same length.
func reversioned(t *testing.T, program string) string {
	t.Helper()
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	was := info.Main.Version
	other := "v0.0.1" + strings.Repeat("0", len(was)-len("v0.0.1"))
	at := []byte("mod\t" + info.Main.Path + "\t" + was + "\t")
	if !bytes.Contains(text, at) {
		t.Fatalf("%s does not have its version %q in it", program, was)
	}
	name := filepath.Join(t.TempDir(), filepath.Base(program))
	if err := os.WriteFile(name, bytes.ReplaceAll(text, at, []byte("mod\t"+info.Main.Path+"\t"+other+"\t")), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}
