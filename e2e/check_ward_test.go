package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// ward is two nodes with all that a pull needs. p2pctl looks at the first.
type ward struct {
	*lab.Lab
	ctx        context.Context //nolint:containedctx // the test's
	host       string          // the registry, as images name it
	containerd *lab.CRI
	older      *lab.CRI // of the 1.7 line
	nodes      []*lab.Daemon
	scheduler  *lab.Daemon
	secure     *lab.SecureRegistry // the same content by TLS, for who has a password
	lost       lab.Image           // of which the registry has lost a layer
	docker     string              // the folder of docker login's credentials; none at first
	another    string              // p2pctl of another version
}

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{ctx: gate(t), docker: t.TempDir()}
	w.another = reversioned(t, programs(t).P2PCtl)
	var err error
	if w.Lab, err = lab.Open(w.ctx, lab.Config{Shape: lab.Shape{Nodes: 2}, Programs: programs(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, d := range append(w.nodes, w.scheduler) {
				t.Logf("log of %s:\n%s", d.Name, d.LogTail())
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	w.host = strings.TrimPrefix(w.Registry.Endpoint, "http://")
	w.push(t)
	if w.secure, err = w.StartBasicRegistry(w.ctx, lab.Alice()); err != nil {
		t.Fatal(err)
	}
	w.nodes = make([]*lab.Daemon, len(w.Net.Nodes))
	w.startScheduler(t)
	for i := range w.nodes {
		w.startNode(t, i)
	}
	w.containerd = startPods(w.ctx, t, w.Lab, 0, transferMode, w.host+"/pause:1")
	modes, err := programs(t).PullModes(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if w.older, err = w.StartCRI(w.ctx, 0, modes[1]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*lab.CRI{w.containerd, w.older} {
		w.write(t, filepath.Join(c.HostsDir(), "_default", "hosts.toml"), w.hosts(""))
	}
	return w
}

// push fills the registry.
func (w *ward) push(t *testing.T) {
	t.Helper()
	for _, spec := range []lab.ImageSpec{
		{Repository: "pause", Tag: "1", Size: 8 << 20, Layers: 2, Command: []string{"sleep", "1000000"}},
		{Repository: "app", Tag: "1", Size: 8 << 20, Layers: 2, Command: []string{"/bin/true"}},
		{Repository: "broken", Tag: "1", Size: 8 << 20, Layers: 2, Command: []string{"/bin/sh", "-c", "exit 3"}},
		{Repository: "far", Tag: "1", Size: 16 << 20, Layers: 2, Synthetic: true, Seed: 7},
		{Repository: "lost", Tag: "1", Size: 4 << 20, Layers: 2, Synthetic: true, Seed: 8},
	} {
		img, err := w.Registry.Push(w.ctx, spec)
		if err != nil {
			t.Fatal(err)
		}
		if spec.Repository == "lost" {
			w.lost = img
		}
	}
}

// admin is where the scheduler answers operators, socket where the p2pd of node i
// does.
func (w *ward) admin() string { return "unix://" + filepath.Join(w.Dir, "scheduler.sock") }
func (w *ward) socket(i int) string {
	return "unix://" + filepath.Join(w.Dir, w.Net.Nodes[i].Name, "store", "p2pd.sock")
}

func (w *ward) startScheduler(t *testing.T) {
	t.Helper()
	var err error
	if w.scheduler, err = w.StartSchedulerWith(w.ctx, 0, 1, map[string]any{"admin": map[string]any{"listen": w.admin()}}); err != nil {
		t.Fatal(err)
	}
}

// startNode starts p2pd on node i and waits until it has its scheduler, unless
// env says something else of it.
func (w *ward) startNode(t *testing.T, i int, env ...string) {
	t.Helper()
	secure := strings.TrimPrefix(w.secure.Endpoint, "https://")
	var err error
	w.nodes[i], err = w.StartNode(w.ctx, i, append([]string{"P2PD_REGISTRIES=" + w.host + "=" + w.Registry.Endpoint + "," + secure + "=" + w.secure.Endpoint}, env...)...)
	if err != nil {
		t.Fatal(err)
	}
	if len(env) == 0 {
		if err := (&lab.Swarm{Nodes: w.nodes[i : i+1]}).WaitConnected(w.ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// restartNode is startNode for the first node, whose p2pd is stopped before. heal
// starts it as it was.
func (w *ward) restartNode(t *testing.T, env ...string) (heal func()) {
	t.Helper()
	restart := func(env ...string) {
		t.Helper()
		if err := w.nodes[0].Stop(); err != nil {
			t.Fatal(err)
		}
		w.startNode(t, 0, env...)
	}
	restart(env...)
	if strings.Contains(env[0], "SCHEDULER") || strings.Contains(env[0], "MEMBERSHIP") {
		w.waitTrouble(t)
	}
	return func() { t.Helper(); restart() }
}

// hosts is a hosts.toml that names p2pd's mirror first. more goes to its table.
func (w *ward) hosts(more string) string {
	return fmt.Sprintf("[host.%q]\n  capabilities = [\"pull\", \"resolve\"%s]\n", w.MirrorURL(0), more)
}

// write writes a file, and the folder that it is in. heal takes it away again, or
// puts back what it was.
func (w *ward) write(t *testing.T, name, text string) (heal func()) {
	t.Helper()
	before, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	put := func(text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	put(text)
	return func() {
		t.Helper()
		if before != nil {
			put(string(before))
		} else if err := os.RemoveAll(filepath.Dir(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// healthy fails unless all is well, and a container was started.
func (w *ward) healthy(t *testing.T) {
	t.Helper()
	found := w.check(t, programs(t).P2PCtl, nil)
	for _, c := range found.all() {
		if c.Result == "error" || c.Result == "warning" {
			t.Errorf("of a node on which all is well %s says %s: %s", c.ID, c.Result, c.Error)
		}
	}
	if found.code != 0 || !found.Success || found.Start.StartMilliseconds == 0 {
		t.Fatalf("it ended with %d, success %v, start %+v", found.code, found.Success, found.Start)
	}
}

// check is p2pctl check on the first node, with a pull and a container.
func (w *ward) check(t *testing.T, program string, env []string, args ...string) (found checked) {
	t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	args = append([]string{
		"check", "-o", "json", "--strict", "--image", w.host + "/app:1", "--insecure", "--start", "--cri-socket", w.containerd.Socket(),
		"--containerd-config", w.containerd.Config(), "--node", w.socket(0), "--server", w.admin(),
	}, args...)
	cmd := w.Net.Nodes[0].Command(ctx, program, args...)
	cmd.Env = append(append(os.Environ(), "DOCKER_CONFIG="+w.docker), env...)
	began := time.Now()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if e := json.Unmarshal(out, &found); e != nil {
		t.Fatalf("check: %v, %v: %s%s", err, e, out, stderr.String())
	}
	found.code = cmd.ProcessState.ExitCode()
	t.Logf("looked for %v", time.Since(began).Round(time.Millisecond))
	return found
}
