package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/preheat"
	"github.com/p2pd/p2pd/internal/secret"
)

// jobDesk takes jobs of registry.test.
type jobDesk struct{ preheats }

func (*jobDesk) ImageOfURL(text string) (string, error) {
	rest, ok := strings.CutPrefix(text, "https://registry.test/v2/")
	repo, ref, is := strings.Cut(rest, "/manifests/")
	if !ok || !is {
		return "", invalid("url: no", "")
	}
	return "registry.test/" + repo + ":" + ref, nil
}

// registryHooks are hooks over a desk, with two tokens of which one is good now.
type registryHooks struct {
	*Hooks
	desk jobDesk
	good []secret.Value
	bad  error
}

const robot = "a token of Harbor's"

func newRegistryHooks(rules ...preheat.Rule) *registryHooks {
	h := &registryHooks{good: []secret.Value{secret.New("another one"), secret.New(robot)}}
	guard := ByTokens(func() ([]secret.Value, error) { return h.good, h.bad })
	h.Hooks = NewHooks(HooksConfig{Guard: guard, Desk: &h.desk, Rules: rules})
	return h
}

func (h *registryHooks) ask(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+robot)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var answer map[string]any
	d := json.NewDecoder(w.Body)
	d.UseNumber()
	if err := d.Decode(&answer); err != nil || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%s %s: status %d, %v, %s", method, path, w.Code, err, w.Header())
	}
	return w.Code, answer
}

// What Harbor's driver sends, and Dragonfly's users, becomes a job.
func TestDragonflyJobs(t *testing.T) {
	t.Parallel()
	const url = `"url":"https://registry.test/v2/team/app/manifests/v1"`
	for _, tt := range []struct {
		name, args string
		want       api.PreheatRequest
	}{
		{"as Harbor sends it", `"type":"image",` + url + `,"tag":"","filtered_query_params":"","headers":{"Authorization":"Bearer tkn"},"scope":"","concurrent_count":0,"timeout":0`,
			api.PreheatRequest{Scope: "zone", Credential: &api.PreheatCredential{Token: "tkn"}}},
		{"one seed", url + `,"scope":"single_seed_peer"`, api.PreheatRequest{Count: 1}},
		{"all seeds", url + `,"scope":"all_seed_peers"`, api.PreheatRequest{Scope: "zone"}},
		{"all peers", url + `,"scope":"all_peers","timeout":600000000000`, api.PreheatRequest{Scope: "all", Timeout: "10m0s"}},
		{"a share of them", url + `,"scope":"all_peers","percentage":25`, api.PreheatRequest{Percentage: 25}},
		{"so many", url + `,"scope":"all_peers","count":3`, api.PreheatRequest{Count: 3}},
		{"by address", url + `,"ips":["10.0.0.1"],"platform":"linux/arm64"`, api.PreheatRequest{Nodes: []string{"10.0.0.1"}, Platforms: []string{"linux/arm64"}}},
		{"with a login", url + `,"type":"cnai","username":"u","password":"p"`, api.PreheatRequest{Scope: "zone", Credential: &api.PreheatCredential{Username: "u", Password: "p"}}},
		{"with a login in a header", url + `,"headers":{"X":"y","authorization":"Basic dTpw"}`, api.PreheatRequest{Scope: "zone", Credential: &api.PreheatCredential{Username: "u", Password: "p"}}},
		{"nulls and what is not known", url + `,"headers":null,"ips":null,"extra":{"deep":[1]},"timeout":1`, api.PreheatRequest{Scope: "zone", Timeout: "1m0s"}},
	} {
		h := newRegistryHooks()
		tt.want.Image = "registry.test/team/app:v1"
		if tt.want.Credential == nil {
			tt.want.Credential = &api.PreheatCredential{}
		}
		code, answer := h.ask(t, http.MethodPost, "/oapi/v1/jobs", `{"type":"preheat","args":{`+tt.args+`},"scheduler_cluster_ids":null,"user_id":1}`)
		if code != http.StatusOK || len(h.desk.asked) != 1 {
			t.Errorf("%s: %d %v", tt.name, code, answer)
			continue
		}
		if diff := cmp.Diff(tt.want, h.desk.asked[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if id := answer["id"]; id != json.Number("1099511627776") {
			t.Errorf("%s: id %v", tt.name, id)
		}
		if at, err := time.Parse(time.RFC3339Nano, answer["created_at"].(string)); err != nil || at.IsZero() {
			t.Errorf("%s: created_at %v, %v", tt.name, at, err)
		}
	}
}

// Where an operator says which zones Dragonfly's clusters are, they narrow the choice of
// nodes, and one that there is not is refused by its number; else they mean nothing.
func TestDragonflyClusters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		clusters map[int64][]string
		ids      string
		code     int
		want     []string
	}{
		{nil, `[1,2]`, http.StatusOK, nil},
		{map[int64][]string{1: {"a"}}, `null`, http.StatusOK, nil},
		{map[int64][]string{1: {"a"}}, `[]`, http.StatusOK, nil},
		{map[int64][]string{1: {"b", "a"}, 2: {"a", "c"}, 3: {"d"}}, `[2,1]`, http.StatusOK, []string{"a", "b", "c"}},
		{map[int64][]string{1: {"a"}, 7: {"b"}}, `[1,4294967296]`, http.StatusUnprocessableEntity, nil},
		{nil, `["a"]`, http.StatusBadRequest, nil},
	} {
		h := newRegistryHooks()
		h.cfg.Clusters = tt.clusters
		code, answer := h.ask(t, http.MethodPost, "/oapi/v1/jobs",
			`{"type":"preheat","args":{"url":"https://registry.test/v2/team/app/manifests/v1","scope":"all_peers"},"scheduler_cluster_ids":`+tt.ids+`}`)
		if code != tt.code {
			t.Errorf("%v with %s: %d %v, want %d", tt.clusters, tt.ids, code, answer, tt.code)
			continue
		}
		if message, _ := answer["message"].(string); code == http.StatusUnprocessableEntity && (!strings.Contains(message, "4294967296") || !strings.Contains(message, "[1 7]")) {
			t.Errorf("%v with %s: %q", tt.clusters, tt.ids, message)
		}
		if code == http.StatusOK {
			if diff := cmp.Diff(tt.want, h.desk.asked[0].Zones); diff != "" {
				t.Errorf("%v with %s (-want +got):\n%s", tt.clusters, tt.ids, diff)
			}
		}
	}
}

func TestDragonflyJobsRefused(t *testing.T) {
	t.Parallel()
	const url = `"url":"https://registry.test/v2/team/app/manifests/v1"`
	for body, want := range map[string]int{
		``:          http.StatusBadRequest,
		`[]`:        http.StatusBadRequest,
		`{"type":7`: http.StatusBadRequest,
		`{"type":"preheat","args":{"url":"https://evil.test/v2/a/manifests/b"}}`:    http.StatusBadRequest,
		`{"type":"sync_peers","args":{` + url + `}}`:                                http.StatusUnprocessableEntity,
		`{"type":"preheat","args":{"type":"file",` + url + `}}`:                     http.StatusUnprocessableEntity,
		`{"type":"preheat","args":{"scope":"most",` + url + `}}`:                    http.StatusUnprocessableEntity,
		`{"type":"preheat","args":{"headers":{"Authorization":"tkn"},` + url + `}}`: http.StatusUnprocessableEntity,
		`{"type":"preheat","x":"` + strings.Repeat("x", hookBodyMost) + `"}`:        http.StatusRequestEntityTooLarge,
	} {
		h := newRegistryHooks()
		code, answer := h.ask(t, http.MethodPost, "/oapi/v1/jobs", body)
		if code != want || answer["message"] == "" || len(h.desk.asked) > 0 || strings.Contains(answer["message"].(string), "tkn") {
			t.Errorf("%.80s: %d %v, want %d", body, code, answer, want)
		}
	}
}

// The states are the three that Harbor knows, and nodes are told of with what they
// lack.
func TestDragonflyAnswers(t *testing.T) {
	t.Parallel()
	h := newRegistryHooks()
	node := func(state, blob, why string) api.PreheatNode {
		return api.PreheatNode{Node: "n-" + state, Address: "10.0.0.1", State: state, FailedBlob: blob, Error: why}
	}
	h.desk.jobs = []api.Preheat{{ID: 1 << 40, Image: "registry.test:5000/team/app:v1", Digest: "sha256:12"}}
	j := &h.desk.jobs[0]
	for state, want := range map[string]string{
		api.PreheatPending: "PENDING", api.PreheatRunning: "PENDING", api.PreheatSucceeded: "SUCCESS", api.PreheatFailed: "FAILURE", api.PreheatCancelled: "FAILURE",
	} {
		j.State, j.NodeItems = state, nil
		code, answer := h.ask(t, http.MethodGet, "/oapi/v1/jobs/1099511627776", "")
		if code != http.StatusOK || answer["state"] != want {
			t.Errorf("%s: %d %v, want %s", state, code, answer["state"], want)
		}
	}
	j.State, j.Error = api.PreheatFailed, "1 of 3 nodes failed"
	j.NodeItems = []api.PreheatNode{node(api.PreheatDone, "", ""), node(api.PreheatFailed, "sha256:34", "disk full"), node(api.PreheatFetching, "", "")}
	_, answer := h.ask(t, http.MethodGet, "/oapi/v1/jobs/1099511627776", "")
	want := map[string]any{"job_states": []any{map[string]any{
		"error": "1 of 3 nodes failed", "state": "FAILURE",
		"results": []any{map[string]any{
			"scheduler_cluster_id": json.Number("1"),
			"success_tasks":        []any{map[string]any{"url": "https://registry.test:5000/v2/team/app/manifests/sha256:12", "hostname": "n-done", "ip": "10.0.0.1"}},
			"failure_tasks":        []any{map[string]any{"url": "https://registry.test:5000/v2/team/app/blobs/sha256:34", "hostname": "n-failed", "ip": "10.0.0.1", "description": "disk full"}},
		}},
	}}}
	if diff := cmp.Diff(want, answer["result"]); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	j.NodeItems = make([]api.PreheatNode, 2*tasksShown)
	for i := range j.NodeItems {
		j.NodeItems[i] = node(api.PreheatDone, "", "")
	}
	_, answer = h.ask(t, http.MethodGet, "/oapi/v1/jobs/1099511627776", "")
	if b, err := json.Marshal(answer); err != nil || strings.Count(string(b), "n-done") != tasksShown {
		t.Errorf("%d of %d nodes are told, want %d: %v", strings.Count(string(b), "n-done"), 2*tasksShown, tasksShown, err)
	}
	for path, want := range map[string]int{"/oapi/v1/jobs/17": http.StatusNotFound, "/oapi/v1/jobs/x": http.StatusBadRequest, "/oapi/v1/clusters": http.StatusNotFound} {
		if code, answer := h.ask(t, http.MethodGet, path, ""); code != want || answer["message"] == "" {
			t.Errorf("%s: %d %v, want %d", path, code, answer, want)
		}
	}
}

// Nobody gets in without a token that is good now, not even to see whether anybody
// is there; and is told so as JSON.
func TestHooksWantAToken(t *testing.T) {
	t.Parallel()
	h := newRegistryHooks()
	paths := []string{"GET /healthy", "GET /health", "POST /oapi/v1/jobs", "GET /oapi/v1/jobs/1", "POST /registry/notifications", "POST /hooks/registry", "POST /hooks/harbor", "GET /", "PUT /nothing"}
	refused := func(what, header string) {
		t.Helper()
		for _, p := range paths {
			method, path, _ := strings.Cut(p, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(`{"type":"preheat"}`))
			r.Header.Set("Authorization", header)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			var e api.Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); w.Code != http.StatusUnauthorized || err != nil || e.Hint == "" || strings.Contains(w.Body.String(), robot) {
				t.Errorf("%s, %s: %d %s", what, p, w.Code, w.Body)
			}
		}
	}
	refused("nothing", "")
	refused("a false one", "Bearer x")
	refused("another way", "Basic "+robot)
	if code, _ := h.ask(t, http.MethodGet, "/healthy", ""); code != http.StatusOK {
		t.Errorf("with a token: %d", code)
	}
	h.good = h.good[:1]
	refused("one that was taken back", "Bearer "+robot)
	h.bad = errors.New("no such file")
	refused("when tokens cannot be read", "Bearer another one")
	if len(h.desk.asked) > 0 {
		t.Errorf("asked: %+v", h.desk.asked)
	}
}

const digestA = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

// Registries' webhooks lead to jobs by rule, and Kraken's notifications to those
// that Harbor's policies ask for.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	const (
		manifestType = "application/vnd.docker.distribution.manifest.v2+json"
		pinned       = "registry.test/prod/app@" + digestA
	)
	event := func(mediaType, repo, tag string) string {
		return `{"Id":"x","TimeStamp":"2026-08-21T05:58:10Z","Action":"push","Target":{"MediaType":"` + mediaType + `","Digest":"` + digestA + `","Repository":"` + repo +
			`","Url":"https://registry.test/v2/` + repo + `/manifests/v1","Tag":"` + tag + `"},"Request":null,"Actor":null}`
	}
	harbor := func(kind, overview string) string {
		return `{"type":"` + kind + `","occur_at":1,"operator":"admin","event_data":{"resources":[{"digest":"` + digestA + `","tag":"v1","resource_url":"registry.test/prod/app:v1"` +
			overview + `}],"repository":{"repo_full_name":"prod/app","name":"app"}}}`
	}
	scan := func(status, severity string) string {
		return `,"scan_overview":{"application/vnd.security.vulnerability.report; version=1.1":{"scan_status":"` + status + `","severity":"` + severity + `"}}`
	}
	rules := []preheat.Rule{{Repository: "prod/**", On: []string{preheat.OnPush}}, {Repository: "prod/**", On: []string{preheat.OnScan}, MaxSeverity: "medium", Scope: "all"}}
	for _, tt := range []struct {
		name, path, body string
		want             []string // images
	}{
		{"kraken", "/registry/notifications", `{"Events":[` + event(manifestType, "dev/app", "v1") + `]}`, []string{"registry.test/dev/app@" + digestA}},
		{"distribution", "/hooks/registry", strings.ToLower(`{"events":[` + event(manifestType, "prod/app", "v1") + `]}`), []string{pinned}},
		{"an index", "/hooks/registry", `{"events":[` + event("application/vnd.oci.image.index.v1+json", "prod/app", "v1") + `]}`, []string{pinned}},
		{"a layer", "/hooks/registry", `{"events":[` + event("application/octet-stream", "prod/app", "v1") + `]}`, nil},
		{"part of an index", "/hooks/registry", `{"events":[` + event(manifestType, "prod/app", "") + `]}`, nil},
		{"by no rule", "/hooks/registry", `{"events":[` + event(manifestType, "dev/app", "v1") + `]}`, nil},
		{"null", "/hooks/registry", `{"events":null}`, nil},
		{"a push", "/hooks/harbor", harbor("PUSH_ARTIFACT", ""), []string{pinned}},
		{"a push as CloudEvent", "/hooks/harbor", strings.Replace(harbor("harbor.artifact.pushed", ""), "event_data", "data", 1), []string{pinned}},
		{"a scan", "/hooks/harbor", harbor("SCANNING_COMPLETED", scan("Success", "Low")), []string{pinned}},
		{"a bad scan", "/hooks/harbor", harbor("SCANNING_COMPLETED", scan("Success", "Critical")), nil},
		{"a scan that failed", "/hooks/harbor", harbor("SCANNING_COMPLETED", scan("Error", "None")), nil},
		{"a scan without a word", "/hooks/harbor", harbor("SCANNING_COMPLETED", ""), nil},
		{"a deletion", "/hooks/harbor", harbor("DELETE_ARTIFACT", ""), nil},
		{"nothing", "/hooks/harbor", `{"type":"PUSH_ARTIFACT","event_data":null}`, nil},
		{"null resources", "/hooks/harbor", `{"type":"PUSH_ARTIFACT","event_data":{"resources":null}}`, nil},
	} {
		h := newRegistryHooks(rules...)
		code, answer := h.ask(t, http.MethodPost, tt.path, tt.body)
		var got []string
		for _, a := range h.desk.asked {
			got = append(got, a.Image)
		}
		ids, _ := answer["jobs"].([]any)
		if diff := cmp.Diff(tt.want, got); diff != "" || code != http.StatusOK || len(ids) != len(tt.want) {
			t.Errorf("%s: %d %v (-want +got):\n%s", tt.name, code, answer, diff)
		}
	}
	// A rule that finds no nodes does not have a registry send the same again and again.
	h := newRegistryHooks(preheat.Rule{Selector: "nowhere"}, preheat.Rule{Selector: "gpu"})
	code, answer := h.ask(t, http.MethodPost, "/hooks/harbor", harbor("PUSH_ARTIFACT", ""))
	if ids, _ := answer["jobs"].([]any); code != http.StatusOK || len(ids) != 1 || len(h.desk.asked) != 2 || h.desk.asked[1].Selector != "gpu" {
		t.Errorf("a rule without nodes: %d %v after %+v", code, answer, h.desk.asked)
	}
}
