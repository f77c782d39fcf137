package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ctl"
)

const (
	warmed     = 16 // nodes of the cluster that is preheated
	warmedSize = lab.Size(64 << 20)
)

// oven is a cluster of three schedulers that may preheat, before a registry for
// everybody and one that wants tokens.
type oven struct {
	*lab.Lab
	tokens     *lab.TokenServer
	private    *lab.SecureRegistry
	schedulers []*lab.Daemon
	sockets    []string
	swarm      *lab.Swarm
	pods       []*lab.CRI // of the first nodes, which p2pd may ask to pull
}

func openOven(ctx context.Context, t *testing.T) *oven {
	t.Helper()
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: warmed, NodeRate: nodeRate, OriginRate: originRate}, Programs: programs(t)})
	if err != nil {
		t.Fatalf("open lab: %v", err)
	}
	o := &oven{Lab: l, swarm: &lab.Swarm{}}
	t.Cleanup(func() {
		for _, d := range append(o.schedulers, o.swarm.Nodes...) {
			if t.Failed() {
				t.Logf("log of %s:\n%s", d.Name, d.LogTail())
			}
		}
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	for _, step := range []func(context.Context) error{o.openRegistries, o.openSchedulers, func(ctx context.Context) error { return o.openPods(ctx, t) }, o.openNodes} {
		if err := step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o *oven) openRegistries(ctx context.Context) (err error) {
	if o.tokens, err = o.StartTokenServer(ctx, lab.Alice(), lab.Bob()); err != nil {
		return err
	}
	o.private, err = o.StartTokenRegistry(ctx, o.tokens)
	return err
}

// registries are both, as schedulers and nodes know them.
func (o *oven) registries() []map[string]any {
	return []map[string]any{
		{"host": lab.RegistryHost, "endpoint": o.Registry.Endpoint},
		{"host": tokenHost, "endpoint": o.private.Endpoint, "tokenHosts": []string{o.tokens.Host()}},
	}
}

func (o *oven) openSchedulers(ctx context.Context) error {
	for i := range schedulers {
		o.sockets = append(o.sockets, filepath.Join(o.Dir, fmt.Sprintf("s%d.sock", i)))
		d, err := o.StartSchedulerWith(ctx, i, schedulers, map[string]any{
			"admin":   map[string]any{"listen": "unix://" + o.sockets[i]},
			"preheat": map[string]any{"registries": o.registries()},
		})
		if err != nil {
			return err
		}
		o.schedulers = append(o.schedulers, d)
	}
	o.swarm.Scheduler = o.schedulers[0]
	return nil
}

// openNodes starts a p2pd on each node. They have no credential of their own.
func (o *oven) openNodes(ctx context.Context) error {
	for i := range o.Net.Nodes {
		containerd := map[string]any{"socket": ""}
		if i < len(o.pods) {
			containerd["criSocket"] = o.pods[i].Socket()
		}
		d, err := o.StartNodeWith(ctx, i, map[string]any{
			"topology": map[string]any{"zone": fmt.Sprintf("z%d", i%2)}, "containerd": containerd, "registries": o.registries(),
		})
		if err != nil {
			return err
		}
		o.swarm.Nodes = append(o.swarm.Nodes, d)
	}
	return o.swarm.WaitSchedulers(ctx, schedulers)
}

// ask asks the admin interface of a scheduler.
func (o *oven) ask(ctx context.Context, scheduler int, method, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", o.sockets[scheduler])
	}}}
	req, err := http.NewRequestWithContext(ctx, method, "http://scheduler"+api.Prefix+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var e api.Error
		return errors.Join(fmt.Errorf("%s %s: %s", method, path, resp.Status), json.NewDecoder(resp.Body).Decode(&e), &e)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// until looks at a job at one scheduler until it is as wanted.
func (o *oven) until(ctx context.Context, t *testing.T, scheduler int, id int64, is func(*api.Preheat) bool) api.Preheat {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	var j api.Preheat
	for ctx.Err() == nil {
		j = api.Preheat{}
		if err := o.ask(ctx, scheduler, http.MethodGet, fmt.Sprintf("/preheats/%d", id), nil, &j); err != nil {
			t.Fatalf("scheduler %d: %v", scheduler, err)
		}
		if is(&j) {
			return j
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("scheduler %d waited in vain: %+v", scheduler, j)
	return j
}

func ended(j *api.Preheat) bool { return j.Ended != nil }

// create takes a job to a scheduler.
func (o *oven) create(ctx context.Context, t *testing.T, scheduler int, ask api.PreheatRequest) api.Preheat {
	t.Helper()
	var j api.Preheat
	if err := o.ask(ctx, scheduler, http.MethodPost, "/preheats", ask, &j); err != nil {
		t.Fatal(err)
	}
	return j
}

// since is what the origin sent of an image since a mark, in copies.
func (o *oven) since(ctx context.Context, t *testing.T, r *lab.Registry, from lab.Mark, img lab.Image) (lab.Tally, float64) {
	t.Helper()
	tally, err := r.Since(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	return tally, float64(tally.BlobBytes) / float64(img.Bytes)
}

func (o *oven) mark(ctx context.Context, t *testing.T, r *lab.Registry) lab.Mark {
	t.Helper()
	m, err := r.Mark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (o *oven) push(ctx context.Context, t *testing.T, repo string, seed uint64) lab.Image {
	t.Helper()
	img, err := o.Registry.Push(ctx, lab.ImageSpec{Repository: repo, Tag: "v1", Size: warmedSize, Layers: 5, Synthetic: true, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// Sixteen nodes are preheated, with each byte read once, and then none of them asks
// the registry for a blob. Of three schedulers the one that took a job is killed
// half-way, and the others answer for it and end it. An image that not everybody may
// have comes by a credential of the job's, which nobody else profits by. What is
// preheated into containerd starts without a pull.
func TestPreheat(t *testing.T) {
	ctx := gate(t)
	o := openOven(ctx, t)
	t.Run("once", func(t *testing.T) { preheatedOnce(ctx, t, o) })
	t.Run("private", func(t *testing.T) { preheatedByCredential(ctx, t, o) })
	t.Run("containerd", func(t *testing.T) { preheatedIntoContainerd(ctx, t, o) })
	t.Run("killed", func(t *testing.T) { preheatedThoughKilled(ctx, t, o) })
}

func preheatedOnce(ctx context.Context, t *testing.T, o *oven) {
	img := o.push(ctx, t, "lab/app", 1)
	from := o.mark(ctx, t, o.Registry)
	began := time.Now()
	j := o.create(ctx, t, 0, api.PreheatRequest{Image: img.Reference(), Scope: api.PreheatAll})
	j = o.until(ctx, t, 0, j.ID, ended)
	tally, copies := o.since(ctx, t, o.Registry, from, img)
	t.Logf("%d nodes preheated in %.1f s, with %.3f copies in %d requests for blobs", j.Done, time.Since(began).Seconds(), copies, tally.Requests[lab.BlobGet])
	if j.State != api.PreheatSucceeded || j.Done != warmed || j.Bytes != j.OfAll {
		t.Fatalf("job: %+v", j)
	}
	if copies > 1.05 {
		t.Errorf("the origin sent %.3f copies, want at most 1.05", copies)
	}
	o.coldStart(ctx, t, img)
}

// coldStart pulls on every node at once, on the first by containerd too.
func (o *oven) coldStart(ctx context.Context, t *testing.T, img lab.Image) {
	t.Helper()
	node, err := o.StartContainerd(ctx, 0, newest(ctx, t), lab.ThroughP2PD)
	if err != nil {
		t.Fatal(err)
	}
	from := o.mark(ctx, t, o.Registry)
	began := time.Now()
	var all errgroup.Group
	for i, p := range o.Net.Nodes {
		all.Go(func() error {
			_, err := lab.PullAt(ctx, p, lab.PullSpec{Base: o.MirrorURL(i), Host: lab.RegistryHost, Repository: img.Repository, Tag: img.Tag, Known: img.Blobs})
			return err
		})
	}
	all.Go(func() error { return errors.Join(node.Pull(ctx, img), node.Check(ctx, img)) })
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	tally, copies := o.since(ctx, t, o.Registry, from, img)
	t.Logf("then all pulled in %.1f s, with %.3f copies", time.Since(began).Seconds(), copies)
	if tally.BlobBytes > 0 {
		t.Errorf("the origin sent %d bytes of blobs that every node had", tally.BlobBytes)
	}
}

func preheatedThoughKilled(ctx context.Context, t *testing.T, o *oven) {
	img := o.push(ctx, t, "lab/other", 2)
	from := o.mark(ctx, t, o.Registry)
	j := o.create(ctx, t, 0, api.PreheatRequest{Image: img.Reference(), Scope: api.PreheatAll})
	half := o.until(ctx, t, 1, j.ID, func(j *api.Preheat) bool { return j.OfAll > 0 && j.Bytes > j.OfAll/4 })
	o.schedulers[0].Kill()
	if half.Ended != nil {
		t.Fatal("it had ended before anybody could be killed")
	}
	for _, scheduler := range []int{1, 2} {
		if got := o.until(ctx, t, scheduler, j.ID, ended); got.State != api.PreheatSucceeded || got.Done != warmed {
			t.Errorf("scheduler %d: %+v", scheduler, got)
		}
	}
	_, copies := o.since(ctx, t, o.Registry, from, img)
	t.Logf("with a scheduler killed after %d %%: %.3f copies", 100*half.Bytes/half.OfAll, copies)
	if copies > 1.5 {
		t.Errorf("the origin sent %.3f copies, want at most 1.50", copies)
	}
	later := o.create(ctx, t, 2, api.PreheatRequest{Image: img.Reference(), Percentage: 25})
	if got := o.until(ctx, t, 1, later.ID, ended); got.State != api.PreheatSucceeded || got.Nodes != warmed/4 {
		t.Errorf("a job after that: %+v", got)
	}
}

func preheatedByCredential(ctx context.Context, t *testing.T, o *oven) {
	img := o.push(ctx, t, "team-a/app", 3) // both registries have the same files
	name := tokenHost + "/" + img.Repository + ":" + img.Tag
	none := o.create(ctx, t, 1, api.PreheatRequest{Image: name})
	if got := o.until(ctx, t, 1, none.ID, ended); got.State != api.PreheatFailed || !strings.Contains(got.Error, "wants a credential") {
		t.Errorf("without a credential: %+v", got)
	}
	from := o.mark(ctx, t, o.private.Registry)
	for _, tt := range []struct {
		who  lab.Tenant
		code int
		says string
	}{{lab.Bob(), 1, "does not take the job's credential"}, {lab.Alice(), 0, "16 done, 0 failed"}} {
		code, said := o.createAs(ctx, t, tt.who, name, "--all")
		if code != tt.code || !strings.Contains(said, tt.says) {
			t.Errorf("by %s: exit code %d\n%s", tt.who.Name, code, said)
		}
	}
	_, copies := o.since(ctx, t, o.private.Registry, from, img)
	t.Logf("a private image: %.3f copies", copies)
	if copies > 1.05 {
		t.Errorf("the private registry sent %.3f copies, want at most 1.05", copies)
	}
	o.grantsNobody(ctx, t, img)
	o.logsNoCredential(t)
}

// createAs has p2pctl preheat an image with what docker login of a tenant left, and
// wait.
func (o *oven) createAs(ctx context.Context, t *testing.T, who lab.Tenant, image string, args ...string) (code int, said string) {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, tokenHost, who.Name, who.Password)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	var out bytes.Buffer
	code = ctl.Main(ctx, append([]string{"p2pctl", "--server", "unix://" + o.sockets[1], "preheat", "create", image, "--login", "--wait"}, args...), &out, &out)
	return code, out.String()
}

func (o *oven) logsNoCredential(t *testing.T) {
	t.Helper()
	basic := strings.TrimPrefix(lab.Alice().Basic(), "Basic ")
	for _, d := range append(o.schedulers[:schedulers:schedulers], o.swarm.Nodes...) {
		if log := d.LogTail(); strings.Contains(log, lab.Alice().Password) || strings.Contains(log, "Bearer ") || strings.Contains(log, basic) {
			t.Errorf("%s logs a credential:\n%s", d.Name, log)
		}
	}
}

// grantsNobody asks a node that has an image for it, without a right.
func (o *oven) grantsNobody(ctx context.Context, t *testing.T, img lab.Image) {
	t.Helper()
	for _, path := range []string{"manifests/" + img.Digest, "blobs/" + img.Blobs[0].Digest} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.MirrorURL(0)+"/v2/"+img.Repository+"/"+path+"?ns="+tokenHost, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := o.Net.Nodes[0].HTTPClient().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		if resp.StatusCode == http.StatusOK {
			t.Errorf("%s: whoever has no right gets what was preheated", path)
		}
	}
}
