package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
)

// The page's files are for everybody, with a policy that lets them load nothing
// from elsewhere, and they would not need to.
func TestThePageNeedsNobody(t *testing.T) {
	st := newStage()
	for path, part := range map[string]string{"/ui/": "<title>p2pd</title>", "/ui/app.js": "follow", "/ui/style.css": "--ground"} {
		w := httptest.NewRecorder()
		st.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), part) {
			t.Errorf("%s: %d %.80s", path, w.Code, w.Body)
		}
		if got := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; script-src 'self'; ") {
			t.Errorf("%s: policy %q", path, got)
		}
	}
	for _, r := range []*http.Request{
		httptest.NewRequest(http.MethodPost, "/ui/", http.NoBody), httptest.NewRequest(http.MethodGet, "/ui/../api/v1/status", http.NoBody),
		httptest.NewRequest(http.MethodGet, "/ui/none", http.NoBody), httptest.NewRequest(http.MethodGet, "/", http.NoBody),
	} {
		w := httptest.NewRecorder()
		if st.ServeHTTP(w, r); w.Code == http.StatusOK {
			t.Errorf("%s %s: %d %s", r.Method, r.URL.Path, w.Code, w.Body)
		}
	}
	elsewhere := regexp.MustCompile(`(?i)https?:|\bsrc="//|<script>|\son\w+="|\sstyle="|innerHTML|\beval\(|document\.write`)
	err := fs.WalkDir(files, "ui", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := files.ReadFile(path)
		if found := elsewhere.FindString(string(b)); found != "" {
			t.Errorf("%s has %q", path, found)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A p2pd without a scheduler has no page.
func TestNoPageWithoutAScheduler(t *testing.T) {
	w := httptest.NewRecorder()
	New(Config{Node: &node{}, Guard: BySocket(func(*http.Request) string { return "root" })}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ui/", http.NoBody))
	if w.Code != http.StatusNotFound {
		t.Errorf("%d", w.Code)
	}
}

// watch opens a stream of events on a real server, until ctx or the test ends,
// and reads the first.
func watch(ctx context.Context, t *testing.T, url string) (status int, kind string, snap api.Snapshot) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+password)
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK {
		return res.StatusCode, "", snap
	}
	if accel := res.Header.Get("X-Accel-Buffering"); accel != "no" {
		t.Errorf("X-Accel-Buffering is %q: nginx would hold events back", accel)
	}
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	data, ok := strings.CutPrefix(line, "data: ")
	if err := json.Unmarshal([]byte(data), &snap); err != nil || !ok {
		t.Fatalf("%q: %v", line, err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), snap
}

func TestWatch(t *testing.T) {
	st := newStage()
	srv := httptest.NewServer(st)
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	at := srv.URL + api.Prefix + "/events"
	_, kind, snap := watch(ctx, t, at)
	if kind != "text/event-stream" || snap.Status.Peers != 2 || len(snap.Swarms) != 1 || snap.Swarm != nil || snap.Kind != "Snapshot" {
		t.Errorf("%s %+v", kind, snap)
	}
	if _, _, snap = watch(ctx, t, at+"?swarm="+app.String()); snap.Swarm == nil || len(snap.Swarm.MemberItems) != 2 || len(snap.Swarms) != 1 {
		t.Errorf("%+v", snap)
	}
	if _, _, snap = watch(ctx, t, at+"?swarm="+piece.Sum(nil).String()); snap.Swarm != nil {
		t.Errorf("a swarm that is not there: %+v", snap.Swarm)
	}
	if status, _, _ := watch(ctx, t, at+"?swarm=x"); status != http.StatusBadRequest {
		t.Errorf("no digest: %d", status)
	}
	for range watchersMost - 3 {
		watch(ctx, t, at)
	}
	if status, _, _ := watch(ctx, t, at); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", status)
	}
	cancel() // and they make room
	for again := 0; ; again++ {
		status, _, _ := watch(t.Context(), t, at)
		if status == http.StatusOK {
			return
		}
		if again > 1000 {
			t.Fatalf("who is gone still watches: %d", status)
		}
	}
}

// Who asks for nothing in particular gets the page.
func TestThePageIsFound(t *testing.T) {
	w := httptest.NewRecorder()
	newStage().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	if w.Code != http.StatusFound || w.Header().Get("Location") != pagePrefix {
		t.Errorf("%d to %q, want the page", w.Code, w.Header().Get("Location"))
	}
}

// Where nothing is to be changed, all that reads is answered, and nothing else.
func TestReadOnly(t *testing.T) {
	st := newStage()
	st.cfg.ReadOnly = true
	for _, rt := range st.routes() {
		if rt.stream != nil {
			continue // TestWatch has it, and it reads
		}
		path := strings.NewReplacer("{digest}", app.String(), "{id}", "reader").Replace(rt.path)
		var answer map[string]any
		status := st.ask(t, rt.method, path, `{"for":"1h","reason":"x"}`, &answer)
		if refused := status == http.StatusForbidden; refused != rt.mutates() {
			t.Errorf("%s %s: %d %v", rt.method, path, status, answer)
		}
	}
	if len(st.node.told) > 0 || st.brain.core.ViewBan(st.brain.now, "reader") != nil {
		t.Errorf("changed: %v", st.node.told)
	}
}
