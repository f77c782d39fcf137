package ctl

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/api"
)

// oven is a scheduler with one job, which goes a step further each time that
// somebody looks.
type oven struct {
	mu    sync.Mutex
	steps []api.Preheat
	asked []api.PreheatRequest
	gone  int
}

const jobID = 4817260350381745

func preheatOf(state string, bytes int64, change ...func(*api.Preheat)) api.Preheat {
	j := api.Preheat{
		Meta: api.Of("Preheat"), ID: jobID, Image: "r.test/app:v1", Digest: app, Scope: api.PreheatAll, State: state, Created: time.Now().Add(-90 * time.Second),
		Nodes: 2, Bytes: bytes, OfAll: 200 << 20,
		NodeItems: []api.PreheatNode{{Peer: me, Node: "worker-1", Zone: "a", State: api.PreheatDone, Blobs: 4, OfBlobs: 4, Bytes: 100 << 20, OfBytes: 100 << 20}},
	}
	if state != api.PreheatPending && state != api.PreheatRunning {
		ended := j.Created.Add(75 * time.Second)
		j.Ended = &ended
	}
	for _, f := range change {
		f(&j)
	}
	return j
}

func (o *oven) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var answer any = o.steps[0]
	switch path := strings.TrimPrefix(r.URL.Path, api.Prefix); {
	case r.Method == http.MethodPost && path == "/preheats":
		var ask api.PreheatRequest
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
			answer = &api.Error{Status: http.StatusBadRequest, Message: err.Error()}
		}
		o.asked = append(o.asked, ask)
	case r.Method == http.MethodGet && path == "/preheats":
		answer = api.PreheatList{Items: o.steps}
	case r.Method == http.MethodGet && path == "/preheats/4817260350381745":
		if len(o.steps) > 1 {
			o.steps = o.steps[1:]
		}
		answer = o.steps[0]
	case r.Method == http.MethodDelete && path == "/preheats/4817260350381745":
		o.gone++
		answer = preheatOf(api.PreheatCancelled, 0)
	default:
		answer = &api.Error{Status: http.StatusNotFound, Message: "there is no preheat job 7"}
	}
	if e, is := answer.(*api.Error); is {
		w.WriteHeader(e.Status)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (o *oven) serve(t *testing.T) (address string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: o}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return "unix://" + path
}

// Flags become what is asked for; a login of docker's goes along only if it is
// named.
func TestPreheatCreate(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"r.test":{"username":"robot","password":"hunter2"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	for args, want := range map[string]api.PreheatRequest{
		"--selector gpu=true,!spot --zones a": {Selector: "gpu=true,!spot", Zones: []string{"a"}},
		"-l gpu --count 2":                    {Selector: "gpu", Count: 2},
		"":                                    {},
		"--all":                               {Scope: api.PreheatAll},
		"--count 3 --within 1h":               {Count: 3, Timeout: "1h"},
		"--percentage 10 --zones a,b":         {Percentage: 10, Zones: []string{"a", "b"}},
		"--nodes n1 --nodes n2":               {Nodes: []string{"n1", "n2"}},
		"--platform linux/arm64,linux/amd64":  {Platforms: []string{"linux/arm64", "linux/amd64"}},
		"--login":                             {Credential: &api.PreheatCredential{Username: "robot", Password: "hunter2"}},
	} {
		o := &oven{steps: []api.Preheat{preheatOf(api.PreheatPending, 0)}}
		want.Image = "r.test/app:v1"
		code, out, errs := run(t, append([]string{"--server", o.serve(t), "preheat", "create", "r.test/app:v1"}, strings.Fields(args)...)...)
		if diff := cmp.Diff([]api.PreheatRequest{want}, o.asked); diff != "" || code != 0 || !strings.Contains(out, "preheat/4817260350381745") {
			t.Errorf("%q: exit code %d\n%s%s(-want +got):\n%s", args, code, out, errs, diff)
		}
		if strings.Contains(out+errs, "hunter2") {
			t.Errorf("%q shows the password:\n%s%s", args, out, errs)
		}
	}
}

// Who waits sees how far the job is, and how it ended by the exit code.
func TestPreheatWait(t *testing.T) {
	failed := preheatOf(api.PreheatFailed, 100<<20, func(j *api.Preheat) {
		j.Error, j.Failed = "1 of 2 nodes failed: worker-2: disk full", 1
		j.NodeItems = append(j.NodeItems, api.PreheatNode{Peer: me, Node: "worker-2", State: api.PreheatFailed, Error: "disk full"})
	})
	for _, tt := range []struct {
		end  api.Preheat
		code int
		says []string
	}{
		{preheatOf(api.PreheatSucceeded, 200<<20, func(j *api.Preheat) { j.Done = 2 }), 0, []string{"state      succeeded", "took       1m15s", "worker-1  a     done     4/4  100 MiB      100%"}},
		{failed, 1, []string{"state      failed", "worker-2  -     failed", "disk full"}},
	} {
		o := &oven{steps: []api.Preheat{
			preheatOf(api.PreheatPending, 0, func(j *api.Preheat) { j.Nodes, j.NodeItems = 0, nil }),
			preheatOf(api.PreheatRunning, 100<<20, func(j *api.Preheat) { j.Done = 1 }), tt.end,
		}}
		code, out, progress := run(t, "--server", o.serve(t), "preheat", "create", "r.test/app:v1", "--wait")
		if code != tt.code {
			t.Errorf("%s: exit code %d", tt.end.State, code)
		}
		for _, want := range tt.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", tt.end.State, want, out)
			}
		}
		for _, want := range []string{"the image is being looked up", "███████████████···············  50%  100 MiB of 200 MiB  1 of 2 nodes done"} {
			if !strings.Contains(progress, want) {
				t.Errorf("%s: no %q in\n%s", tt.end.State, want, progress)
			}
		}
	}
}

// On a terminal there is one line, which is written over.
func TestPreheatBar(t *testing.T) {
	t.Parallel()
	var line bytes.Buffer
	b := progress{w: &line, terminal: true}
	j := preheatOf(api.PreheatRunning, 50<<20)
	b.show(&j)
	b.show(&j)
	b.end()
	if got := line.String(); strings.Count(got, "\r\x1b[K") != 2 || strings.Count(got, "\n") != 1 || !strings.Contains(got, "25%") {
		t.Errorf("on a terminal: %q", got)
	}
}

func TestPreheatCommands(t *testing.T) {
	o := &oven{steps: []api.Preheat{preheatOf(api.PreheatRunning, 100<<20, func(j *api.Preheat) { j.Done, j.Scheduler, j.Selector = 1, "s.test:7310", "gpu,!spot" })}}
	where := o.serve(t)
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"preheat ls", 0, "4817260350381745  r.test/app:v1  running      2     1       0       50%  1m30s"},
		{"preheat ls -o wide", 0, "all    s.test:7310"},
		{"preheat ls -o name", 0, "preheat/4817260350381745\n"},
		{"preheat show 4817260350381745", 0, "platforms  each node's own"},
		{"preheat show 4817260350381745", 0, "selector   gpu,!spot"},
		{"preheat show preheat/4817260350381745 -o json", 0, `"id": 4817260350381745`},
		{"preheat cancel 4817260350381745", 0, "cancelled"},
		{"preheat show 7", 1, "there is no preheat job 7"},
		{"preheat show seven", 2, "no job's number"},
		{"preheat create r.test/app:v1 --all --count 2", 2, "none of the others can be"},
		{"preheat create r.test/app:v1 --selector=", 2, "--selector is empty"},
		{"preheat create", 2, "accepts 1 arg"},
		{"preheat create UPPER/x --login", 2, "is no image"},
	} {
		code, out, errs := run(t, append([]string{"--server", where}, strings.Fields(tt.args)...)...)
		if code != tt.code || !strings.Contains(out+errs, tt.says) {
			t.Errorf("%s: exit code %d, want %d and %q in\n%s%s", tt.args, code, tt.code, tt.says, out, errs)
		}
	}
	if o.gone != 1 {
		t.Errorf("%d jobs are cancelled, want 1", o.gone)
	}
}
