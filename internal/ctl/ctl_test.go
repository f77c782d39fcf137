package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answers is a program that always says the same: by method and path.
type answers map[string]any

// serve answers at a socket until the test ends.
func (a answers) serve(t *testing.T) (address string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(a.answer)}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return "unix://" + path
}

func (a answers) answer(w http.ResponseWriter, r *http.Request) {
	v, ok := a[r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), api.Prefix)]
	if !ok {
		v, ok = a[r.Method+" "+strings.TrimPrefix(r.URL.Path, api.Prefix)]
	}
	if !ok {
		v = &api.Error{Status: http.StatusNotFound, Message: "there is no " + r.URL.Path, Hint: "look elsewhere"}
	}
	if e, is := v.(*api.Error); is {
		w.WriteHeader(e.Status)
	}
	_ = json.NewEncoder(w).Encode(v)
}

// run is p2pctl with some arguments.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(t.Context(), append([]string{"p2pctl"}, args...), &out, &err)
	return code, out.String(), err.String()
}

const (
	app  = "sha256:22274e00642be97eb5873d47922e31a4bf62c09f4cfa1e48b5dbe83fc126697a"
	base = "sha256:1fb54c666de1e62aa8283d9a89264d6cc941e5e8c4df09b1539fa144430c4b87"
	me   = "12D3KooWN1MSK4kwghQf7QeLPJvjdzdsGsX3juRaWwXUePFRAG4z"
)

var started = time.Now().Add(-90 * time.Minute)

func scheduler() answers {
	swarm := api.Swarm{Digest: app, Size: 48 << 20, PieceSize: 1 << 20, Pieces: 48, Members: 2, Seeds: 1, Leases: 1, Progress: 0.75, Since: started, Bytes: api.Bytes{Peers: 36 << 20, Origin: 48 << 20}}
	return answers{
		"GET /status":                        api.Status{Version: "v1.2.3", UptimeSeconds: 5400, Scheduler: &api.SchedulerStatus{Peers: 2, Swarms: 1, ActiveSwarms: 1, Bytes: swarm.Bytes}},
		"GET /swarms?active=false&limit=500": api.SwarmList{Items: []api.Swarm{swarm}, Page: api.Page{Next: app}},
		"GET /swarms?active=false&after=" + urlOf(app) + "&limit=500":                    api.SwarmList{Items: []api.Swarm{{Digest: base, Size: api.SizeUnknown}}},
		"GET /swarms?active=true&limit=200":                                              api.SwarmList{Items: []api.Swarm{swarm}},
		"GET /swarms?after=" + urlOf("sha256:2227"+strings.Repeat("0", 60)) + "&limit=2": api.SwarmList{Items: []api.Swarm{swarm, {Digest: "sha256:33"}}},
		"GET /swarms?after=" + urlOf("sha256:aaaa"+strings.Repeat("0", 60)) + "&limit=2": api.SwarmList{},
		"GET /swarms/" + app: api.SwarmDetail{Swarm: swarm, LeasedRanges: "40-47", LeasesOut: []api.Lease{{ID: 7, Holder: me, Registry: "r.test", Ranges: "40-47"}},
			MemberItems: []api.Membership{{Peer: me, Zone: "a", Pieces: 48, Have: 24, Ranges: "0-23", Neighbours: []string{"x"}, Bytes: api.Bytes{Peers: 5 << 20}}, {Peer: "12D3other", Pieces: 48, Have: 48, Ranges: "0-47", Seed: true}}},
		"GET /peers":                   api.PeerList{Items: []api.Peer{{ID: me, Node: "worker-1", State: api.PeerOK, Bulk: "192.0.2.1:7302", Zone: "a", Since: &started}, {ID: "12D3other", State: api.PeerBanned, Ban: &api.Ban{Reason: "x"}}}},
		"GET /peers/" + me:             api.PeerDetail{Peer: api.Peer{ID: me, State: api.PeerOK, Since: &started}, Memberships: []api.Membership{{Digest: app, Size: 1 << 20, Pieces: 1, Have: 1}}},
		"POST /peers/" + me + "/ban":   api.PeerDetail{Peer: api.Peer{ID: me, State: api.PeerBanned, Ban: &api.Ban{Reason: "it is stolen", Until: time.Now().Add(time.Hour)}}},
		"DELETE /peers/" + me + "/ban": &api.Error{Status: http.StatusNotFound, Message: "it is not banned", Hint: "see who is"},
	}
}

func urlOf(s string) string { return strings.ReplaceAll(s, ":", "%3A") }

func p2pd() answers {
	return answers{
		"GET /status":          api.Status{Version: "v1.2.4", Node: &api.NodeStatus{ID: me, Scheduler: "s.test:7310", Connected: true, Blobs: 3}},
		"GET /cache":           api.CacheList{Items: []api.CacheEntry{{Digest: app, Size: 48 << 20, Where: api.WhereStore, Whole: true, LastUsed: &started}}, StoreBytes: 48 << 20, StoreCapacity: 20 << 30},
		"GET /downloads":       api.DownloadList{Items: []api.Download{{Digest: app, Size: 48 << 20, Pieces: 48, Have: 12, Readers: 1, Started: started, Given: []api.Given{{From: me, Bytes: 8 << 20}, {From: "origin", Bytes: 4 << 20}}, Neighbours: []api.Neighbour{{Peer: me, Answered: true, Have: 12, BytesPerSecond: 3 << 20}}, Reads: []api.Read{{Lease: 7, Ranges: "40-47", Bytes: 1 << 20}}}}},
		"POST /cache/verify":   api.VerifyResult{Items: []api.Verdict{{Digest: app, Size: 48 << 20, OK: false, Message: "content is other; it was removed"}}, Damaged: 1},
		"POST /cache/prune":    api.PruneResult{Items: []api.CacheEntry{}, DryRun: true, InUse: 2},
		"DELETE /cache/" + app: api.PruneResult{Items: []api.CacheEntry{{Digest: app, Size: 48 << 20}}, Bytes: 48 << 20},
		"GET /explain":         api.ExplanationList{Items: []api.Explained{{Name: app, Last: api.Event{At: started, Kind: "complete", Text: "48 bytes in 2s"}}}},
		"GET /explain/" + app: api.Explanation{Name: app, Entries: []api.Event{
			{At: started, Last: started, Times: 1, Kind: "asked", Text: "of r.test: a download begins"},
			{At: started.Add(time.Second), Last: started.Add(3 * time.Second), Times: 4, Kind: "waiting", Text: "no byte"},
		}, Given: []api.Given{{From: me, Bytes: 30}, {From: "origin", Bytes: 10}}, Dropped: 5},
	}
}

// What each command says, and ends with.
func TestCommands(t *testing.T) {
	where := []string{"--server", scheduler().serve(t), "--node", p2pd().serve(t)}
	for _, tt := range []struct {
		args string
		code int
		says []string // on standard output, or on standard error if it fails otherwise than by a finding
	}{
		{"status", 0, []string{"SCHEDULER", "v1.2.3, up 1h30m", "2 connected", "42% saved", "NODE", "connected to s.test:7310"}},
		{"version", 0, []string{"p2pctl", "v1.2.3", "v1.2.4"}},
		{"version --client -o name", 0, []string{version()}},
		{"swarm ls", 0, []string{"DIGEST", "22274e00642b  48 MiB        2      1       75%", "1fb54c666de1       ?", "1h30m"}},
		{"swarm ls -o wide --no-headers", 0, []string{"22274e00642b  48 MiB  48"}},
		{"swarm ls -o name", 0, []string{"swarm/" + app + "\nswarm/" + base + "\n"}},
		{"swarm ls -o json", 0, []string{`"progress": 0.75`, `"digest": "` + base + `"`}},
		{"swarm ls -o yaml", 0, []string{"progress: 0.75", "- bytes:"}},
		{"swarm show 2227", 0, []string{app, "1.00 copies", "…WwXUePFRAG4z  r.test    40-47", "24/48  pulling", "48/48  seed"}},
		{"swarm show aaaa", 1, []string{"nothing begins with aaaa", "swarm ls"}},
		{"swarm show xyz", 2, []string{"neither a digest"}},
		{"swarm show", 2, []string{"accepts 1 arg"}},
		{"swarm top -n 1", 0, []string{"22274e00642b    48 MiB   75%  2 members, 1 seeds, 1 leases  - from peers, - from origin (1.00 copies)"}},
		{"swarm top " + app + " -n 2 --interval 1ms", 0, []string{"75%  2 members"}},
		{"peer ls", 0, []string{me + "  worker-1  ok      192.0.2.1:7302  a", "12D3other", "banned", "1h30m", "no"}},
		{"peer show FRAG4z", 0, []string{me, "state      ok", "22274e00642b  1.0 MiB   1/1"}},
		{"peer show worker-1", 0, []string{me}},
		{"peer show nobody", 1, []string{"no peer's ID ends with nobody"}},
		{"peer ban FRAG4z", 2, []string{"--reason"}},
		{"peer ban FRAG4z --reason stolen", 0, []string{"state      banned", "for another 59m", "it is stolen"}},
		{"peer unban " + me, 1, []string{"it is not banned; see who is"}},
		{"cache ls", 0, []string{"48 MiB of 20 GiB", "22274e00642b  48 MiB  store  yes    -       -      1h30m ago"}},
		{"cache verify", 1, []string{"it was removed", "1 damaged"}},
		{"cache prune", 2, []string{"say what is to go"}},
		{"cache prune --unused-for 24h --dry-run", 0, []string{"nothing is to go", "would be removed", "2 are in use"}},
		{"cache rm 2227", 0, []string{"1 blobs, 48 MiB, removed"}},
		{"cache rm abcd", 1, []string{"nothing begins with abcd"}},
		{"downloads", 0, []string{"22274e00642b  48 MiB   25%  1 reader     8.0 MiB      4.0 MiB", "3.0 MiB/s", "reading pieces 40-47: 1.0 MiB so far", "12/48"}},
		{"explain", 0, []string{"22274e00642b  1h30m ago  complete  48 bytes in 2s"}},
		{"explain 22274e00", 0, []string{app, "0s  asked    of r.test", "1s  waiting  no byte (4 times, the last one 2s later)", "5 events in the middle are forgotten", "peer …WwXUePFRAG4z   30 B    75%", "origin"}},
		{"explain 00000000", 1, []string{"nothing begins with 00000000"}},
		{"explain UPPER/case", 2, []string{"neither a digest nor an image"}},
		{"completion bash", 0, []string{"__start_p2pctl"}},
		{"frob", 2, []string{"unknown command"}},
		{"status --frob", 2, []string{"unknown flag", "p2pctl status --help"}},
		{"status -o xml", 2, []string{"table, wide, json, yaml, name"}},
		{"status --timeout 0s", 2, []string{"longer than nothing"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			code, out, err := run(t, append(strings.Fields(tt.args), where...)...)
			text := out
			if out == "" {
				text = err
			}
			if code != tt.code {
				t.Errorf("ended with %d, want %d: %s%s", code, tt.code, out, err)
			}
			if code == 0 && err != "" {
				t.Errorf("standard error has %q", err)
			}
			for _, part := range tt.says {
				if !strings.Contains(text, part) {
					t.Errorf("it does not say %q:\n%s", part, text)
				}
			}
			if strings.Contains(text, "\x1b[") {
				t.Error("there are colours where there is no terminal")
			}
		})
	}
}

// Who is not there is named with what to do, and ends with 3.
func TestNobodyAnswers(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "left")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: left, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"swarm", "ls", "--server", "unix://" + dir + "/none"}, 3, "is the scheduler running on this machine? --server says where"},
		{[]string{"cache", "ls", "--node", "unix://" + dir + "/none"}, 3, "is p2pd running on this machine? --node says where"},
		{[]string{"swarm", "ls", "--server", "unix://" + left}, 3, "nothing listens there"},
		{[]string{"status", "--server", "unix://" + dir + "/none", "--node", "unix://" + dir + "/none"}, 3, "p2pd does not answer"},
		{[]string{"swarm", "ls", "--server", "127.0.0.1:1"}, 2, "--token-file"},
		{[]string{"swarm", "ls", "--server", "127.0.0.1:1", "--token-file", dir + "/none"}, 2, "no such file"},
		{[]string{"swarm", "ls", "--server", "127.0.0.1:1", "--token-file", token}, 3, "nothing listens there"},
		{[]string{"swarm", "ls", "--server", "192.0.2.1:1", "--token-file", token}, 2, "in the clear"},
		{[]string{"swarm", "ls", "--server", "https://scheduler.test"}, 2, "neither unix:///PATH"},
	} {
		code, out, err := run(t, tt.args...)
		if code != tt.code || !strings.Contains(err, tt.says) || out != "" {
			t.Errorf("%v: %d, %q, %q; want %d and %q", tt.args, code, out, err, tt.code, tt.says)
		}
	}
}

// With one of the two away the other's status is shown.
func TestStatusOfOne(t *testing.T) {
	none := "unix://" + t.TempDir() + "/none"
	code, out, err := run(t, "status", "--server", none, "--node", p2pd().serve(t))
	if code != 0 || !strings.Contains(out, "NODE") || strings.Contains(out, "SCHEDULER") || !strings.Contains(err, "the scheduler does not answer") {
		t.Errorf("%d %q %q", code, out, err)
	}
}

// The token is sent where an address is no socket, and only there.
func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("open-sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = append(shown, r.Header.Get("Authorization"))
		scheduler().answer(w, r)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	code, _, says := run(t, "peer", "ls", "--server", l.Addr().String(), "--token-file", file)
	_ = srv.Close()
	<-done
	if code != 0 || len(shown) != 1 || shown[0] != "Bearer open-sesame" {
		t.Errorf("%d %q, shown %q", code, says, shown)
	}
}

// Watching goes on until the operator ends it, which is no failure.
func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := &until{most: 3, reached: cancel}
	code := Main(ctx, []string{"p2pctl", "swarm", "ls", "--watch", "--interval", "1ms", "--server", scheduler().serve(t)}, w, os.Stderr)
	if code != 0 || strings.Count(w.String(), "DIGEST") < 3 {
		t.Errorf("%d, %s", code, w.String())
	}
}

// until calls reached once it was written to often enough.
type until struct {
	bytes.Buffer
	most    int
	reached func()
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if strings.Count(u.String(), "DIGEST") >= u.most {
		u.reached()
	}
	return n, err
}

func TestKubectlPlugin(t *testing.T) {
	if got := Command("/usr/local/bin/kubectl-p2p").CommandPath(); got != "kubectl p2p" {
		t.Errorf("the plugin calls itself %q", got)
	}
}

func TestCells(t *testing.T) {
	for _, tt := range []struct {
		ranges   string
		n, width int
		want     string
	}{
		{"", 0, 8, "[]"},
		{"", 4, 8, "[0 0 0 0]"},
		{"0-1", 4, 8, "[1 1 0 0]"},
		{"0-3,6", 8, 4, "[1 1 0 0.5]"},
		{"0-9", 10, 3, "[1 1 1]"},
		{"nonsense", 2, 2, "[0 0]"},
	} {
		if got := fmt.Sprint(cells(tt.ranges, tt.n, tt.width)); got != tt.want {
			t.Errorf("%q of %d in %d: %s, want %s", tt.ranges, tt.n, tt.width, got, tt.want)
		}
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{-1: "?", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 10 << 20: "10 MiB", 3 << 30: "3.0 GiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d bytes: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-time.Second: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 25 * time.Hour: "1d1h"} {
		if got := ageText(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
	if got := shareText(999, 1000); got != "99%" {
		t.Errorf("what is not all is %s", got)
	}
	if got := cellWidth("\x1b[32m█ü\x1b[0m"); got != 2 {
		t.Errorf("two coloured letters are %d wide", got)
	}
}

// The reference in docs/cli is what the code is.
func TestTheReferenceIsTrue(t *testing.T) {
	dir := t.TempDir()
	if err := WriteReference(dir); err != nil {
		t.Fatal(err)
	}
	want, err := filepath.Glob(dir + "/*.md")
	if err != nil || len(want) < 10 {
		t.Fatalf("%d files, %v", len(want), err)
	}
	have, err := filepath.Glob("../../docs/cli/*.md")
	if err != nil || len(have) != len(want) {
		t.Errorf("docs/cli has %d files, the code has %d commands; go generate ./cmd/p2pctl writes them", len(have), len(want))
	}
	for _, file := range want {
		a, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile("../../docs/cli/" + filepath.Base(file))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("docs/cli/%s is not what the code is (%v); go generate ./cmd/p2pctl writes it", filepath.Base(file), err)
		}
	}
}
