package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const password = "open-sesame"

// brain is a scheduler without a loop.
type brain struct {
	core *scheduler.Scheduler
	now  time.Time
	err  error
}

func (b *brain) View(_ context.Context, f func(time.Time, *scheduler.Scheduler)) error {
	if b.err == nil {
		f(b.now, b.core)
	}
	return b.err
}

func (b *brain) Ban(_ context.Context, e scheduler.BanPeer) error {
	b.core.Step(b.now, e)
	return b.err
}

func (b *brain) Unban(_ context.Context, p scheduler.PeerID) error {
	b.core.Step(b.now, scheduler.UnbanPeer{Peer: p})
	return b.err
}

// node is one that is always the same. It remembers what it was told to change.
type node struct{ told []string }

func (*node) Status(context.Context) (api.NodeStatus, error) { return api.NodeStatus{ID: "me"}, nil }

func (*node) Downloads(context.Context) ([]api.Download, error) {
	return []api.Download{{Digest: app.String()}}, nil
}

func (*node) Cache(context.Context) (api.CacheList, error) {
	return api.CacheList{Items: []api.CacheEntry{{Digest: app.String(), Where: api.WhereStore}}}, nil
}

func (n *node) Verify(_ context.Context, ds []piece.Digest) (api.VerifyResult, error) {
	n.told = append(n.told, fmt.Sprint("verify ", len(ds)))
	return api.VerifyResult{Items: []api.Verdict{{Digest: app.String()}}, Damaged: 1}, nil
}

func (n *node) Remove(_ context.Context, d piece.Digest) (api.PruneResult, error) {
	if d != app {
		return api.PruneResult{}, NotHeld(d)
	}
	n.told = append(n.told, "remove "+d.String())
	return api.PruneResult{}, InUse(d)
}

func (n *node) Prune(_ context.Context, w PruneWhat) (api.PruneResult, error) {
	n.told = append(n.told, fmt.Sprintf("prune %+v", w))
	return api.PruneResult{DryRun: w.DryRun}, nil
}

func (*node) Explain(_ context.Context, name string) (api.Explanation, bool, error) {
	return api.Explanation{Name: name}, name == app.String() || name == "registry.test/app:1", nil
}

func (*node) Explained(context.Context) ([]api.Explained, error) {
	return []api.Explained{{Name: app.String()}}, nil
}

func (n *node) Report(run api.CheckRun) error {
	n.told = append(n.told, "report "+run.Node)
	return nil
}

var app = piece.Sum([]byte("app"))

// stage is a server over a scheduler with a seed in zone a and a reader of one
// blob of 4 MiB.
type stage struct {
	*Server
	brain    *brain
	preheats preheats
	ledger   ledger.Ledger
	node     *node
	log      bytes.Buffer
}

func newStage() *stage {
	st := &stage{node: &node{}, brain: &brain{core: scheduler.New(scheduler.Config{Seed: 1}), now: time.Unix(1e9, 0)}}
	layout, _ := piece.NewLayout(4 << 20)
	for _, p := range []scheduler.Peer{{ID: "seed", Node: "worker-1", Zone: "a", Addrs: []string{"/ip4/192.0.2.1/tcp/1"}, Bulk: "192.0.2.1:2"}, {ID: "reader", Zone: "b"}} {
		have := piece.NewBitfield(layout.Count())
		if p.ID == "seed" {
			have = piece.FullBitfield(layout.Count())
		}
		st.brain.core.Step(st.brain.now, scheduler.PeerUp{Peer: p})
		st.brain.core.Step(st.brain.now, scheduler.Join{Peer: p.ID, Blobs: []scheduler.Membership{{Digest: app, Size: layout.Size(), Have: have, Origin: "registry.test"}}})
	}
	st.Server = New(Config{
		Guard: ByToken(secret.New(password)), Brain: st.brain, Preheats: &st.preheats, Ledger: &st.ledger, Node: st.node, Version: "v1.2.3", Started: time.Now(),
		Logger: slog.New(slog.NewTextHandler(&st.log, nil)),
	})
	return st
}

// ask makes a request with the token and decodes the answer into one.
func (st *stage) ask(t *testing.T, method, path, body string, into any) int {
	t.Helper()
	r := httptest.NewRequest(method, api.Prefix+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+password)
	w := httptest.NewRecorder()
	st.ServeHTTP(w, r)
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s %s: status %d, %v", method, path, w.Code, err)
	}
	return w.Code
}

// Whoever has no token learns nothing, of any path, by any method; and nothing
// is changed.
func TestEveryRouteWantsTheToken(t *testing.T) {
	st := newStage()
	paths := [][2]string{{"GET", "/openapi.yaml"}, {"GET", "/no/such/path"}, {"PUT", "/status"}}
	for _, rt := range st.routes() {
		path := strings.NewReplacer("{digest}", app.String(), "{id}", "reader").Replace(rt.path)
		paths = append(paths, [2]string{rt.method, path})
	}
	for _, p := range paths {
		for what, header := range map[string]string{
			"no token": "", "a false one": "Bearer open-sesamf", "half of it": "Bearer open", "an empty one": "Bearer ", "another scheme": "Basic " + password, "no scheme": password,
		} {
			r := httptest.NewRequest(p[0], api.Prefix+p[1], strings.NewReader(`{"for":"1h","reason":"x"}`))
			if header != "" {
				r.Header.Set("Authorization", header)
			}
			w := httptest.NewRecorder()
			st.ServeHTTP(w, r)
			var e api.Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != http.StatusUnauthorized || e.Status != w.Code || e.Hint == "" {
				t.Errorf("%s %s with %s: %d %s", p[0], p[1], what, w.Code, w.Body)
			}
			if strings.Contains(w.Body.String(), password) {
				t.Error("the token is told")
			}
		}
	}
	if len(st.node.told) > 0 {
		t.Errorf("without the token the node was told to %v", st.node.told)
	}
	if st.brain.core.ViewBan(st.brain.now, "reader") != nil {
		t.Error("a request without the token banned a peer")
	}
	if strings.Contains(st.log.String(), password) {
		t.Error("the token is logged")
	}
	if none := New(Config{Guard: ByToken(secret.Value{}), Node: &node{}}); none != nil {
		r := httptest.NewRequest("GET", api.Prefix+"/status", http.NoBody)
		r.Header.Set("Authorization", "Bearer ")
		w := httptest.NewRecorder()
		if none.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("where no token is set, none is taken: %d", w.Code)
		}
	}
}

func TestWhatASchedulerSays(t *testing.T) {
	st := newStage()
	var status api.Status
	if code := st.ask(t, "GET", "/status", "", &status); code != http.StatusOK || status.Version != "v1.2.3" || status.Node.ID != "me" ||
		status.Scheduler.Peers != 2 || status.Scheduler.Swarms != 1 || status.Scheduler.ActiveSwarms != 1 || status.Kind != "Status" {
		t.Errorf("%d %+v %+v", code, status, status.Scheduler)
	}
	var swarms api.SwarmList
	st.ask(t, "GET", "/swarms?active=true", "", &swarms)
	if len(swarms.Items) != 1 || swarms.Items[0].Digest != app.String() || swarms.Items[0].Progress != 0.5 || swarms.Items[0].Pieces != 4 || swarms.Next != "" {
		t.Errorf("%+v", swarms)
	}
	var swarm api.SwarmDetail
	st.ask(t, "GET", "/swarms/"+app.String()+"?limit=1", "", &swarm)
	if swarm.Members != 2 || len(swarm.MemberItems) != 1 || swarm.MemberItems[0].Peer != "reader" || swarm.Next != "reader" || len(swarm.Zones) != 2 {
		t.Errorf("%+v", swarm)
	}
	var rest api.SwarmDetail
	st.ask(t, "GET", "/swarms/"+app.String()+"?after="+swarm.Next, "", &rest)
	if len(rest.MemberItems) != 1 || rest.MemberItems[0].Ranges != "0-3" || rest.MemberItems[0].Node != "worker-1" || !rest.MemberItems[0].Seed || rest.Next != "" {
		t.Errorf("%+v", rest)
	}
	var peers api.PeerList
	st.ask(t, "GET", "/peers", "", &peers)
	if len(peers.Items) != 2 || peers.Items[0].State != api.PeerOK || peers.Items[1].Bulk != "192.0.2.1:2" || peers.Items[1].Node != "worker-1" || peers.Items[0].Missing != 1 {
		t.Errorf("%+v", peers)
	}
	var peer api.PeerDetail
	st.ask(t, "GET", "/peers/reader", "", &peer)
	if len(peer.Memberships) != 1 || peer.Memberships[0].Digest != app.String() || peer.Memberships[0].Have != 0 {
		t.Errorf("%+v", peer)
	}
}

// A ban is there until it is lifted, and each change is on record with who made
// it.
func TestBan(t *testing.T) {
	st := newStage()
	var p api.PeerDetail
	if code := st.ask(t, "POST", "/peers/reader/ban", `{"for":"1h","reason":"it is being reimaged"}`, &p); code != http.StatusOK || p.State != api.PeerBanned || p.Ban.Reason != "it is being reimaged" || p.Swarms != 0 {
		t.Errorf("%d %+v", code, p)
	}
	for _, part := range []string{"level=INFO", "admin change", "token from", "POST", "/peers/reader/ban", "for 1h0m0s: it is being reimaged"} {
		if !strings.Contains(st.log.String(), part) {
			t.Errorf("the record has no %q: %s", part, st.log.String())
		}
	}
	st.log.Reset()
	var after api.PeerDetail
	if code := st.ask(t, "DELETE", "/peers/reader/ban", "", &after); code != http.StatusOK || after.State != api.PeerOK || after.Ban != nil {
		t.Errorf("%d %+v", code, after)
	}
	if !strings.Contains(st.log.String(), "DELETE") {
		t.Errorf("the end of the ban is not on record: %s", st.log.String())
	}
	st.log.Reset()
	var e api.Error
	if code := st.ask(t, "DELETE", "/peers/reader/ban", "", &e); code != http.StatusNotFound || e.Hint == "" {
		t.Errorf("a second end: %d %+v", code, e)
	}
	if !strings.Contains(st.log.String(), "admin change failed") {
		t.Error("a change that failed is not on record")
	}
}

func TestWhatCannotBe(t *testing.T) {
	st := newStage()
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/swarms/sha256:12", "", 400},
		{"GET", "/swarms/" + piece.Sum(nil).String(), "", 404},
		{"GET", "/swarms?limit=0", "", 400},
		{"GET", "/swarms?limit=x", "", 400},
		{"GET", "/swarms?active=perhaps", "", 400},
		{"GET", "/peers?limit=-1", "", 400},
		{"GET", "/peers/nobody", "", 404},
		{"GET", "/peers/..%2f..%2fetc", "", 400},
		{"POST", "/peers/reader/ban", "", 400},
		{"POST", "/peers/reader/ban", `{"for":"1h"}`, 400},
		{"POST", "/peers/reader/ban", `{"for":"-1h","reason":"x"}`, 400},
		{"POST", "/peers/reader/ban", `{"for":"9999h","reason":"x"}`, 400},
		{"POST", "/peers/reader/ban", `{"for":"1h","reason":"x","and":1}`, 400},
		{"POST", "/peers/reader/ban", `{"for":"1h","reason":"` + strings.Repeat("x", bodyMost) + `"}`, 400},
		{"POST", "/peers/ü/ban", `{"for":"1h","reason":"x"}`, 400},
		{"GET", "/explain/" + piece.Sum(nil).String(), "", 404},
		{"GET", "/explain?name=nobody", "", 404},
		{"GET", "/explain?name=" + strings.Repeat("x", nameMost+1), "", 400},
		{"DELETE", "/cache/sha256:1", "", 400},
		{"DELETE", "/cache/" + piece.Sum(nil).String(), "", 404},
		{"DELETE", "/cache/" + app.String(), "", 409},
		{"POST", "/cache/verify", `{"digests":["x"]}`, 400},
		{"POST", "/cache/prune", `{"unusedFor":"long"}`, 400},
		{"POST", "/cache/prune", `{"unused":"1h"}`, 400},
		{"GET", "/nothing", "", 404},
		{"POST", "/nothing", "", 404},
	} {
		var e api.Error
		if code := st.ask(t, tt.method, tt.path, tt.body, &e); code != tt.status || e.Status != code || e.Message == "" {
			t.Errorf("%s %s: %d %+v, want %d", tt.method, tt.path, code, e, tt.status)
		}
	}
	if bans := st.brain.core.ViewBan(st.brain.now, "reader"); bans != nil {
		t.Errorf("banned by a request that cannot be: %+v", bans)
	}
	st.brain.err = context.DeadlineExceeded
	var e api.Error
	if code := st.ask(t, "GET", "/swarms", "", &e); code != http.StatusGatewayTimeout {
		t.Errorf("a brain that does not answer: %d", code)
	}
	st.brain.err = errors.New("it has stopped")
	if code := st.ask(t, "GET", "/status", "", &e); code != http.StatusInternalServerError || !strings.Contains(e.Message, "it has stopped") {
		t.Errorf("a brain that has stopped: %d %+v", code, e)
	}
}

// A page of another site cannot make a browser change anything.
func TestOtherSites(t *testing.T) {
	st := newStage()
	r := httptest.NewRequest("POST", api.Prefix+"/peers/reader/ban", strings.NewReader(`{"for":"1h","reason":"x"}`))
	r.Header.Set("Authorization", "Bearer "+password)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	if st.ServeHTTP(w, r); w.Code != http.StatusForbidden || st.brain.core.ViewBan(st.brain.now, "reader") != nil {
		t.Errorf("status %d", w.Code)
	}
}

func TestWhatANodeSays(t *testing.T) {
	st := newStage()
	var downloads api.DownloadList
	if code := st.ask(t, "GET", "/downloads", "", &downloads); code != http.StatusOK || len(downloads.Items) != 1 || downloads.Kind != "DownloadList" {
		t.Errorf("%d %+v", code, downloads)
	}
	var cache api.CacheList
	if code := st.ask(t, "GET", "/cache", "", &cache); code != http.StatusOK || len(cache.Items) != 1 || cache.Kind != "CacheList" {
		t.Errorf("%d %+v", code, cache)
	}
	var list api.ExplanationList
	if code := st.ask(t, "GET", "/explain", "", &list); code != http.StatusOK || len(list.Items) != 1 {
		t.Errorf("%d %+v", code, list)
	}
	for _, path := range []string{"/explain/" + app.String(), "/explain?name=registry.test%2Fapp:1"} {
		var e api.Explanation
		if code := st.ask(t, "GET", path, "", &e); code != http.StatusOK || e.Name == "" || e.Kind != "Explanation" {
			t.Errorf("%s: %d %+v", path, code, e)
		}
	}
	var verdict api.VerifyResult
	st.ask(t, "POST", "/cache/verify", "", &verdict)
	st.ask(t, "POST", "/cache/verify", `{"digests":["`+app.String()+`"]}`, &verdict)
	var gone api.PruneResult
	st.ask(t, "POST", "/cache/prune", `{"unusedFor":"24h","spare":true}`, &gone)
	want := []string{"verify 0", "verify 1", "prune {UnusedFor:24h0m0s Spare:true Partial:false DryRun:false}"}
	if !slices.Equal(st.node.told, want) {
		t.Errorf("the node was told %q, want %q", st.node.told, want)
	}
	for _, part := range []string{"1 blobs read, 1 damaged", "0 blobs removed"} {
		if !strings.Contains(st.log.String(), part) {
			t.Errorf("the record has no %q: %s", part, st.log.String())
		}
	}
}

// A program that is one of the two says where to ask the other.
func TestTheOtherProgram(t *testing.T) {
	for _, tt := range []struct {
		cfg        Config
		path, hint string
	}{
		{Config{Node: &node{}}, "/swarms", "the scheduler"},
		{Config{Brain: newStage().brain}, "/cache", "the p2pd of a node"},
	} {
		tt.cfg.Guard = BySocket(func(*http.Request) string { return "root" })
		w := httptest.NewRecorder()
		New(tt.cfg).ServeHTTP(w, httptest.NewRequest("GET", api.Prefix+tt.path, http.NoBody))
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), tt.hint) {
			t.Errorf("%s: %d %s", tt.path, w.Code, w.Body)
		}
	}
}
