package daemon_test

import (
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

// hubAt runs a scheduler whose operators ask at listen.
func hubAt(t *testing.T, listen, tokenFile string) (*daemon.Hub, *running, error) {
	t.Helper()
	cfg := daemon.DefaultHubConfig()
	cfg.Listen, cfg.HTTP.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Membership.Mode = "open"
	cfg.Admin = daemon.AdminConfig{Listen: listen, TokenFile: tokenFile}
	if err := cfg.Validate(); err != nil {
		return nil, nil, err
	}
	h, err := daemon.NewHub(cfg, "v0.0.0-test", logger(t))
	if err != nil {
		return nil, nil, err
	}
	return h, start(t, h.Run), nil
}

// onSocket asks at a socket.
func onSocket(t *testing.T, socket, path string) (int, []byte) {
	t.Helper()
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	res, err := c.Get("http://p2pd" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// The scheduler's socket is for its owner alone, and answers; so does that of a
// node, which is one with an embedded scheduler for both.
func TestOperatorsAskAtSockets(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "scheduler.sock")
	hub, r, err := hubAt(t, "unix://"+socket, "")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v %v", info, err)
	}
	cfg := nodeConfig(t, newUpstream(t, 1))
	cfg.Scheduler.Address = hub.Addr().String()
	n, _ := startNode(t, cfg)
	until(t, "the node is attached", func() bool {
		_, body := onSocket(t, socket, api.Prefix+"/peers/"+string(n.Self().ID))
		return strings.Contains(string(body), `"state":"ok"`)
	})
	var st api.Status
	if code, body := onSocket(t, filepath.Join(cfg.Store.Path, "p2pd.sock"), api.Prefix+"/status"); code != http.StatusOK || json.Unmarshal(body, &st) != nil ||
		st.Node == nil || st.Node.ID != string(n.Self().ID) || !st.Node.Connected || st.Scheduler != nil || st.Node.Scheduler != hub.Addr().String() {
		t.Errorf("node: %d %s", code, body)
	}
	st = api.Status{}
	if code, body := onSocket(t, socket, api.Prefix+"/status"); code != http.StatusOK || json.Unmarshal(body, &st) != nil || st.Scheduler == nil || st.Scheduler.Peers != 1 || st.Node != nil || st.Version != "v0.0.0-test" {
		t.Errorf("scheduler: %d %s", code, body)
	}
	r.wait(t)
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestAnEmbeddedSchedulerIsAskedAtItsNode(t *testing.T) {
	cfg := nodeConfig(t, newUpstream(t, 1))
	cfg.EmbeddedScheduler = daemon.EmbeddedConfig{Enabled: true, Listen: "127.0.0.1:0"}
	startNode(t, cfg)
	var st api.Status
	if code, body := onSocket(t, filepath.Join(cfg.Store.Path, "p2pd.sock"), api.Prefix+"/status"); code != http.StatusOK || json.Unmarshal(body, &st) != nil || st.Node == nil || st.Scheduler == nil {
		t.Errorf("%d %s", code, body)
	}
}

// On TCP the token is made on the first start, stays, and is asked for.
func TestOperatorsAskWithAToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admin.token")
	at := port(t)
	var tokens []string
	for range 2 {
		_, r, err := hubAt(t, at, file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, string(b))
		for token, want := range map[string]int{"": http.StatusUnauthorized, "x" + string(b): http.StatusUnauthorized, string(b): http.StatusOK} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at+api.Prefix+"/status", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("token of %d bytes: status %d, want %d", len(token), res.StatusCode, want)
			}
		}
		r.wait(t)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || tokens[0] != tokens[1] || len(tokens[0]) < 50 {
		t.Errorf("token file: %v %v, %d bytes, the same after a restart: %v", info, err, len(tokens[0]), tokens[0] == tokens[1])
	}
}

func TestWhereOperatorsCannotAsk(t *testing.T) {
	open, short := filepath.Join(t.TempDir(), "open"), filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(open, []byte(strings.Repeat("x", 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(short, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ listen, file, want string }{
		{"0.0.0.0:7312", open, "admin.listen: \"0.0.0.0:7312\" is open to others"},
		{"127.0.0.1:0", "", "admin.tokenFile: \"\" names no file"},
		{"127.0.0.1:0", open, "chmod 600"},
		{"127.0.0.1:0", short, "is no token"},
		{"unix://scheduler.sock", "", "is no absolute path"},
		{"unix:///" + strings.Repeat("x", 200), "", "is too long"},
		{"unix:///dev/null/x.sock", "", "admin.listen: mkdir /dev/null"},
		{"nowhere", "", "is not an address"},
	} {
		if _, _, err := hubAt(t, tt.listen, tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s with %s: %v, want %q", tt.listen, tt.file, err, tt.want)
		}
	}
}
