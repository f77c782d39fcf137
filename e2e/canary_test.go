package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// A canary pulls an image that nobody has through p2pd, has containerd start a
// container from it, again and again, and says when the chain has broken and
// where.
func TestCanary(t *testing.T) {
	ctx := gate(t)
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: 1}, Programs: programs(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	host := strings.TrimPrefix(l.Registry.Endpoint, "http://")
	for _, spec := range []lab.ImageSpec{
		{Repository: "pause", Tag: "1", Size: 8 << 20, Layers: 2, Command: []string{"sleep", "1000000"}},
		{Repository: "base", Tag: "1", Size: 8 << 20, Layers: 2, Command: []string{"/bin/true"}},
	} {
		if _, err := l.Registry.Push(ctx, spec); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.StartScheduler(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := l.StartNode(ctx, 0, "P2PD_REGISTRIES="+host+"="+l.Registry.Endpoint); err != nil {
		t.Fatal(err)
	}
	c := startPods(ctx, t, l, 0, transferMode, host+"/pause:1")
	if err := c.Hosts(host, l.MirrorURL(0), ""); err != nil {
		t.Fatal(err)
	}

	args := []string{
		"check", "-o", "json", "--image", host + "/base:1", "--fresh", host + "/canary", "--insecure", "--start", "--cri-socket", c.Socket(),
		"--containerd-config", c.Config(), "--node", "unix://" + filepath.Join(l.Dir, l.Net.Nodes[0].Name, "store", "p2pd.sock"),
	}
	found := checkOnce(ctx, t, l, args)
	if found.Start.Bytes.Origin < 1<<20 || found.Start.Usage.MemoryBytes == 0 || found.Start.StartMilliseconds == 0 {
		t.Errorf("measured %+v", found.Start)
	}

	canary, err := l.Start(l.Net.Nodes[0], lab.Spec{Name: "canary", Args: append([]string{programs(t).P2PCtl}, append(args, "--every", "5s", "--metrics", "127.0.0.1:9100")...)})
	if err != nil {
		t.Fatal(err)
	}
	page := func(metric string, least float64) error {
		return canary.WaitReady(ctx, func(ctx context.Context) error {
			m, err := lab.Scrape(ctx, l.Net.Nodes[0], "http://127.0.0.1:9100/metrics")
			if err == nil && m[metric] < least {
				err = errors.New(metric + " is not so many yet")
			}
			return err
		})
	}
	if err := page(`p2pd_canary_runs_total{outcome="success"}`, 2); err != nil {
		t.Fatal(err)
	}
	l.Registry.Kill()
	if err := page(`p2pd_canary_failures_total{category="fresh image"}`, 1); err != nil {
		t.Error(err)
	}
}

// startPods starts the newest containerd on a node, so that it can start pods. mode
// ends the name of the way in which it pulls.
func startPods(ctx context.Context, t *testing.T, l *lab.Lab, node int, mode, sandbox string) *lab.CRI {
	t.Helper()
	modes, err := programs(t).PullModes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(modes, func(m lab.PullMode) bool { return strings.HasSuffix(m.Name, mode) })
	c, err := l.StartCRI(ctx, node, modes[i].WithPods(sandbox))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checked is of what p2pctl check says in JSON.
type checked struct {
	code       int // that it ended with
	Success    bool
	Categories []struct {
		Checks []checkOf
	}
	Start struct {
		StartMilliseconds int64
		Bytes             struct{ Origin int64 }
		Usage             struct{ MemoryBytes int64 }
	}
}

// checkOf is one check of it.
type checkOf struct{ ID, Result, Error, Hint string }

// all are its checks, of all categories.
func (c *checked) all() (all []checkOf) {
	for _, g := range c.Categories {
		all = append(all, g.Checks...)
	}
	return all
}

func checkOnce(ctx context.Context, t *testing.T, l *lab.Lab, args []string) (found checked) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := l.Net.Nodes[0].Command(ctx, programs(t).P2PCtl, args...).Output()
	if exit, is := errors.AsType[*exec.ExitError](err); is {
		t.Logf("errors: %s", exit.Stderr)
	}
	if e := json.Unmarshal(out, &found); err != nil || e != nil || !found.Success {
		t.Fatalf("check: %v, %v: %s", err, e, out)
	}
	return found
}
