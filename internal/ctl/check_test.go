package ctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/api"
)

// Each check is explained under the address that it names.
func TestEveryCheckIsExplained(t *testing.T) {
	b, err := os.ReadFile("../../docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	k := &checkup{cli: &cli{}}
	seen := 0
	for _, checks := range [][]check{k.nodeChecks(), k.schedulerChecks(), k.containerdChecks(), k.registryChecks(), k.freshChecks(), k.goneChecks(), k.pullChecks(), k.startChecks(), k.preChecks()} {
		for _, c := range checks {
			seen++
			if !strings.Contains(string(b), "\n## "+c.anchor+"\n") {
				t.Errorf("docs/checks.md has no %q, for: %s", c.anchor, c.description)
			}
		}
	}
	if got := strings.Count(string(b), "\n## ") - 1; got != seen { // one section is a table of what can be wrong
		t.Errorf("docs/checks.md explains %d checks, there are %d", got, seen)
	}
}

// mirrorAt answers as p2pd's mirror, or as somebody else.
func mirrorAt(t *testing.T, server string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: 1e9, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", server) })}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return l.Addr().String()
}

// sound is a node on which all is well, as the programs tell it and as its files
// are; spoil makes something of it wrong.
type sound struct {
	node, scheduler answers
	status          *api.NodeStatus
	peer            *api.PeerDetail
	containerd      string    // its configuration
	hosts           string    // its hosts.toml of all registries; empty: none
	mine            string    // one of a registry of its own
	written         time.Time // when those files were; zero: now
}

func newSound(t *testing.T) *sound {
	mirror := mirrorAt(t, mirrorName)
	s := &sound{
		node: p2pd(), scheduler: scheduler(),
		status:     &api.NodeStatus{ID: me, Mirror: mirror, Scheduler: "s.test:7310", Connected: true, CacheCapacity: 1 << 30},
		peer:       &api.PeerDetail{Peer: api.Peer{ID: me, State: api.PeerOK, Since: &started}},
		containerd: "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/certs.d\"\n",
		hosts:      "[host.\"http://" + mirror + "\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
	}
	s.node["GET /status"] = &api.Status{Version: version(), Node: s.status}
	s.scheduler["GET /status"] = &api.Status{Version: version(), Scheduler: &api.SchedulerStatus{Peers: 2}}
	s.scheduler["GET /peers/"+me] = s.peer
	return s
}

// check runs p2pctl check and returns what it found, by the check's description.
func (s *sound) check(t *testing.T, args ...string) (int, map[string]checkResult) {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{"etc/containerd/config.toml": s.containerd, "certs.d/_default/hosts.toml": s.hosts, "certs.d/r.test/hosts.toml": s.mine} {
		if text == "" {
			continue
		}
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if s.written.IsZero() {
			continue
		}
		if err := os.Chtimes(path, s.written, s.written); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"check", "-o", "json", "--root", root, "--node", s.node.serve(t), "--server", s.scheduler.serve(t)}, args...)
	code, out, err := run(t, args...)
	var found checkResults
	if e := json.Unmarshal([]byte(out), &found); e != nil {
		t.Fatalf("%d %q %q: %v", code, out, err, e)
	}
	all := make(map[string]checkResult)
	for _, g := range found.Categories {
		for _, c := range g.Checks {
			all[c.Description] = c
		}
	}
	if found.Success != (code == 0) {
		t.Errorf("success %v, and it ended with %d", found.Success, code)
	}
	return code, all
}

func TestCheckFindsNothing(t *testing.T) {
	code, all := newSound(t).check(t)
	if code != 0 || len(all) != 11 {
		t.Errorf("ended with %d after %d checks", code, len(all))
	}
	for name, c := range all {
		if c.ID == "config-loaded" && c.Result == resultSkipped { // there is no runtime
			continue
		}
		if c.Result != resultOK || c.Error != "" || c.Hint != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// Each thing that is wrong is found by the check that is for it, which says what
// to do.
func TestCheckFinds(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil         func(*testing.T, *sound)
		check, result string
		says          string
	}{
		"p2pd is away":               {func(_ *testing.T, s *sound) { s.node["GET /status"] = &api.Status{} }, "p2pd answers", resultError, "is no p2pd"},
		"it is older":                {func(_ *testing.T, s *sound) { s.node["GET /status"].(*api.Status).Version = "v0.1" }, "p2pd and p2pctl are of one version", resultWarning, "v0.1"},
		"nobody is the mirror":       {func(_ *testing.T, s *sound) { s.status.Mirror = "127.0.0.1:1" }, "the mirror answers", resultError, "does not answer"},
		"another is the mirror":      {func(t *testing.T, s *sound) { s.status.Mirror = mirrorAt(t, "nginx") }, "the mirror answers", resultError, "is not p2pd"},
		"the disk is full":           {func(_ *testing.T, s *sound) { s.status.CacheCapacity = 0 }, "the store has room", resultError, "store.capacity"},
		"the disk is full of others": {func(_ *testing.T, s *sound) { room := int64(-5); s.status.DiskRoom, s.status.CacheBytes = &room, 4 }, "the store has room", resultError, "store.keepFree"},
		"large blobs had no room":    {func(_ *testing.T, s *sound) { s.status.NoRoom = 3 }, "the store has room", resultWarning, "3 times a blob"},
		"the scheduler refuses": {func(_ *testing.T, s *sound) {
			s.status.Connected, s.status.SchedulerTrouble = false, "the token has expired"
		}, "p2pd is connected to a scheduler", resultWarning, "expired"},
		"a new capability": {func(_ *testing.T, s *sound) {
			s.hosts = strings.Replace(s.hosts, "\"pull\"", "\"pull\", \"referrers\"", 1)
		}, "containerd asks p2pd", resultWarning, "since 2.2"},
		"another is asked first":  {func(_ *testing.T, s *sound) { s.hosts = "[host.\"https://r.test\"]\n" + s.hosts }, "containerd asks p2pd", resultWarning, "r.test asked before"},
		"bytes were false":        {func(_ *testing.T, s *sound) { s.status.FalsePieces = 2 }, "nothing that arrived was false", resultWarning, "2 pieces"},
		"no connection":           {func(_ *testing.T, s *sound) { s.status.Connected = false }, "p2pd is connected to a scheduler", resultWarning, "s.test:7310"},
		"no scheduler configured": {func(_ *testing.T, s *sound) { s.status.Scheduler = "" }, "p2pd is connected to a scheduler", resultSkipped, "find each other"},
		"the scheduler is older":  {func(_ *testing.T, s *sound) { s.scheduler["GET /status"].(*api.Status).Version = "v0.1" }, "the scheduler answers here", resultWarning, "v0.1"},
		"the peer is banned":      {func(_ *testing.T, s *sound) { s.peer.Ban = &api.Ban{Reason: "it is stolen"} }, "the scheduler takes this peer", resultError, "it is stolen"},
		"the peer is suspect":     {func(_ *testing.T, s *sound) { s.peer.Suspect = &api.Suspicion{Accusers: 1} }, "the scheduler takes this peer", resultWarning, "cache verify"},
		"the peer is elsewhere":   {func(_ *testing.T, s *sound) { s.peer.Since = nil }, "the scheduler takes this peer", resultError, "another one"},
		"no config_path":          {func(_ *testing.T, s *sound) { s.containerd = "version = 2\n" }, "containerd reads hosts.toml files", resultError, "config_path"},
		"the older way": {func(_ *testing.T, s *sound) {
			s.containerd += "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"x\"]\n"
		}, "containerd reads hosts.toml files", resultError, "mirrors"},
		"broken configuration":  {func(_ *testing.T, s *sound) { s.containerd = "[" }, "containerd reads hosts.toml files", resultError, "is not TOML"},
		"no hosts.toml":         {func(_ *testing.T, s *sound) { s.hosts = "" }, "containerd asks p2pd", resultError, "p2pd setup"},
		"for another address":   {func(_ *testing.T, s *sound) { s.hosts = "[host.\"http://127.0.0.1:9\"]\n" }, "containerd asks p2pd", resultError, "p2pd setup"},
		"a registry of its own": {func(_ *testing.T, s *sound) { s.mine = "server = \"https://r.test\"\n" }, "containerd asks p2pd", resultWarning, "r.test"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSound(t)
			tt.spoil(t, s)
			code, all := s.check(t)
			c := all[tt.check]
			if c.Result != tt.result || !strings.Contains(c.Error, tt.says) || c.Result != resultSkipped && !strings.HasPrefix(c.Hint, checksURL) {
				t.Errorf("%+v, want %s about %q", c, tt.result, tt.says)
			}
			if (code == 1) != (tt.result == resultError) {
				t.Errorf("ended with %d", code)
			}
		})
	}
}

// A warning is a failure for who is strict.
func TestCheckStrictly(t *testing.T) {
	s := newSound(t)
	s.status.FalsePieces = 1
	if code, _ := s.check(t); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if code, all := s.check(t, "--strict"); code != 1 || all["nothing that arrived was false"].ID != "false-content" {
		t.Errorf("strictly: ended with %d: %+v", code, all)
	}
}

// While p2pd does not answer, who has its port is looked for.
func TestCheckNamesWhoHasThePort(t *testing.T) {
	t.Parallel()
	k := &checkup{cli: &cli{}}
	k.at = mirrorAt(t, "nginx")
	if _, err := k.mirrorAnswers(t.Context()); err == nil || !strings.Contains(err.Error(), `"nginx"): another program has p2pd's port`) {
		t.Errorf("beside another program: %v", err)
	}
	k.at = "127.0.0.1:1"
	if _, err := k.mirrorAnswers(t.Context()); err == nil || !strings.Contains(err.Error(), "no other program") {
		t.Errorf("alone: %v", err)
	} else if _, skipped := errors.AsType[skippedError](err); !skipped {
		t.Errorf("alone: %v is no reason to skip", err)
	}
}

// What of a registry's folders holds for an image.
func TestCheckLooksAtTheImagesRegistry(t *testing.T) {
	s := newStage(t)
	s.mine = "server = \"https://r.test\"\n" // of another one
	if code, all := s.check(t, "--image", s.host+"/base:1", "--insecure"); code != 0 || all["containerd asks p2pd"].Result != resultOK {
		t.Errorf("ended with %d: %+v", code, all["containerd asks p2pd"])
	}
	code, all := s.check(t, "--image", "r.test/base:1")
	if c := all["containerd asks p2pd"]; code != 1 || c.Result != resultError || !strings.Contains(c.Error, "p2pd setup --registry r.test") {
		t.Errorf("ended with %d: %+v", code, c)
	}
}

// A peer that was blamed while the layer came is told of, one of an earlier pull
// is not.
func TestCheckTellsOfPeersThatDoNotGive(t *testing.T) {
	t.Parallel()
	now := time.Now()
	later := now.Add(time.Second)
	const ports = "do all nodes reach each other's ports of peer.listen and peer.bulkListen (here 7301 and 7302)"
	event := func(at time.Time, kind, text string) api.Event {
		return api.Event{At: at, Last: at, Times: 1, Kind: kind, Text: text}
	}
	introduced := event(later, "introduced", "to 2: KDcFXDRs ZePFRAG4 (a seed; joined: 0 known, 2 seed)")
	for name, tt := range map[string]struct {
		events []api.Event
		says   string
	}{
		"well":                  {[]api.Event{introduced, event(later, "lease", "7: pieces 0..1 (nobody has them)")}, ""},
		"blamed before":         {[]api.Event{event(now.Add(-time.Second), "blamed", me+": could not be reached")}, ""},
		"blamed":                {[]api.Event{event(later, "blamed", me+": could not be reached")}, "…WwXUePFRAG4z could not be reached: " + ports},
		"the registry stood in": {[]api.Event{introduced, event(later, "lease", "7: pieces 0..1 (others have it, but it has had nothing from anybody)")}, "peers have the layer (KDcFXDRs ZePFRAG4), but it has had nothing from anybody: " + ports},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			node := answers{"GET /explain": api.Explanation{Entries: tt.events, Given: []api.Given{{From: me, Bytes: 1 << 20}}}}
			k := &checkup{cli: &cli{node: node.serve(t), timeout: time.Minute}, pull: &pullMeasured{Digest: app, began: now}}
			k.node = &api.Status{Node: &api.NodeStatus{Addresses: []string{"/ip4/192.0.2.1/tcp/7301"}, Bulk: "192.0.2.1:7302"}}
			detail, err := k.peersGive(t.Context())
			if tt.says == "" && (err != nil || detail != "1.0 MiB") || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%q, %v; want %q", detail, err, tt.says)
			}
		})
	}
}

// Wide, each check says how long it took.
func TestCheckTellsTimes(t *testing.T) {
	t.Parallel()
	found := checkResults{Categories: []checkGroup{{Name: "registry", Checks: []checkResult{{Description: "it answers", Result: resultOK, Millis: 1234}}}}}
	for output, want := range map[string]string{"table": "√ it answers\n", "wide": "1234 ms  √ it answers\n"} {
		var out bytes.Buffer
		if err := (&cli{output: output}).print(&out, checkShown(palette(false), &found)); err != nil || !strings.Contains(out.String(), "registry\n"+want) {
			t.Errorf("%s: %v, %q", output, err, out.String())
		}
	}
}

// What cannot be looked at for what failed before is skipped, and no check lost.
func TestCheckSkips(t *testing.T) {
	s := newSound(t)
	s.node["GET /status"] = &api.Error{Status: http.StatusInternalServerError, Message: "it is ill"}
	code, all := s.check(t)
	if code != 1 || len(all) != 11 {
		t.Errorf("ended with %d after %d checks", code, len(all))
	}
	for _, name := range []string{"the mirror answers", "the store has room", "p2pd is connected to a scheduler", "the scheduler takes this peer"} {
		if all[name].Result != resultSkipped {
			t.Errorf("%s: %+v", name, all[name])
		}
	}
}

func TestPortsFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ports := []string{l.Addr().String()}
	if _, err := portsFree(ports); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("taken: %v", err)
	}
	l.Close()
	if _, err := portsFree(ports); err != nil {
		t.Errorf("free: %v", err)
	}
}

// Where p2pd listens at all addresses, as in a pod, hosts.toml names loopback.
func TestNearest(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]string{
		"[::]:7300": "127.0.0.1:7300", "0.0.0.0:7301": "127.0.0.1:7301", "127.0.0.1:7300": "127.0.0.1:7300", "10.0.0.1:7300": "10.0.0.1:7300", "": "",
	} {
		if have := nearest(at); have != want {
			t.Errorf("%q is nearest at %q, want %q", at, have, want)
		}
	}
}
