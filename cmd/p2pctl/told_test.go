package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// happen has an image pulled by all nodes of a cluster, another one refused, a blob
// rot on a disk and be found, and a check fail; it returns the image's digest.
func happen(t *testing.T, c *cluster) v1.Hash {
	t.Helper()
	img, err := random.Image(2<<20, 4)
	if err != nil {
		t.Fatal(err)
	}
	c.push(t, "1.2", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for i := range c.nodes {
		g.Go(func() error { return c.pullImage(i, "1.2", m) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if status, err := c.fetch(0, "team/denied/manifests/1"); status != http.StatusForbidden || err != nil {
			t.Errorf("what is denied is answered with %d, %v", status, err)
		}
	}
	c.rot(t, 1, m.Layers[0].Digest.Hex)
	if code, out, _ := c.try(1, "cache", "verify"); code != 1 || !strings.Contains(out, "1 damaged") {
		t.Errorf("%d: %s", code, out)
	}
	if code, out, _ := c.try(0, "check", "--root", t.TempDir()); code != 1 {
		t.Errorf("a machine without containerd is well: %s", out)
	}
	return digest
}

// rot changes a blob on the disk of a node, once it is there: a client has its last
// byte a moment before it has its name.
func (c *cluster) rot(t *testing.T, i int, hex string) {
	t.Helper()
	name := filepath.Join(filepath.Dir(c.nodes[i].socket), "blobs/sha256", hex)
	c.until(t, "the blob is on the disk", func() bool { _, err := os.Stat(name); return err == nil })
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("rotten"), 1000); err != nil {
		t.Fatal(err)
	}
}

// What happens on nodes, p2pctl shows of the whole cluster: beside a scheduler, and
// with what p2pd has passed on.
func TestWhatNodesTell(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, false)
	digest := happen(t, c)
	says := func(part string, args ...string) func() bool {
		return func() bool {
			code, out, _ := c.try(0, args...)
			return code == 0 && strings.Contains(out, part)
		}
	}
	c.until(t, "both pulls are told of", says("team/app:1.2  "+digest.Hex[:12]+"      2       0", "pull", "ls", "-o", "wide"))
	c.until(t, "the refusal is told of", says("3 critical vulnerabilities", "incident", "ls"))
	c.until(t, "the rotten blob is told of", says("the copy in the store was damaged", "incident", "ls"))
	c.until(t, "the check is told of", says("failed", "check", "ls"))
	image := c.registry + "/team/app:1.2"
	wants(t, c.run(t, 0, "pull", "ls"), image, "FROM PEERS")
	wants(t, c.run(t, 0, "pull", "show", image), digest.String(), "2 complete, 0 failed", "SLOWEST: complete", "LATEST: complete", "2.0 MiB", "█")
	wants(t, c.run(t, 0, "pull", "show", digest.Hex[:12], "-o", "name"), "pull/"+digest.String())
	wants(t, c.run(t, 0, "incident", "ls", "-o", "wide"), "403 Forbidden", "team/denied:1", "verify", "ask who runs the registry")
	wants(t, c.run(t, 0, "check", "ls"), "failed", "1/1", "containerd: ")
	if code, _, err := c.try(0, "pull", "show", "none.test/app:1"); code != 1 || !strings.Contains(err, "p2pctl pull ls") {
		t.Errorf("an image that nobody pulled: %d %s", code, err)
	}
}

// The same on the live page, in a real browser.
func TestThePageOfWhatNodesTell(t *testing.T) {
	b := startBrowser(t, 1280, 900, false)
	c := newCluster(t, 2, true)
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		t.Fatal(err)
	}
	digest := happen(t, c)
	b.open("http://" + c.server + "/ui/#/images")
	b.until("!document.getElementById('login').hidden")
	b.eval(fmt.Sprintf("document.getElementById('token').value = %q; document.getElementById('login').requestSubmit()", strings.TrimSpace(string(token))))
	has := func(id, text string) {
		b.until(fmt.Sprintf("document.getElementById('%s').innerText.includes(%q)", id, text))
	}
	has("pulls", "2")
	has("imageRows", "team/app:1.2")
	b.barriers("images")
	b.eval("location.hash = '#/image/" + digest.String() + "'")
	b.until("document.querySelectorAll('#waterfalls details').length === 2 && document.querySelectorAll('#waterfalls details[open] svg').length === 6")
	has("imageText", "2 complete, 0 failed")
	b.eval("document.querySelectorAll('#waterfalls details')[1].open = true")
	b.shoot("waterfall.png")
	b.barriers("image")
	b.wear(looks()[0])
	b.eval("document.getElementById('waterfalls').scrollIntoView()")
	b.shoot("waterfall-phone.png")
	b.quiet("image")
	b.eval("location.hash = '#/trouble'")
	has("refusalRows", "3 critical vulnerabilities")
	has("falseRows", "the copy in the store was damaged")
	b.barriers("trouble")
	b.eval("location.hash = '#/checks'")
	has("checkRows", "failed")
	has("failedChecks", "1")
	b.barriers("checks")
	b.eval("location.hash = '#/image/" + piece.Sum(nil).String() + "'")
	has("imageText", "is remembered")
	if wrong := b.troubles("the server responded with a status of 401", "the server responded with a status of 404"); len(wrong) > 0 {
		t.Errorf("the page has errors: %v", wrong)
	}
}

// crowded is the ledger of a scheduler to which ten thousand nodes have told of one
// pull, and some of much else.
func crowded() *ledger.Ledger {
	var l ledger.Ledger
	now := time.Now()
	for i := range manyPeers {
		r := ledger.Report{Pulls: []pulls.Record{pulled("app", time.Duration(1000+i%977)*time.Millisecond)}}
		if i < 1000 {
			r.Pulls = append(r.Pulls, pulled(fmt.Sprint("app-", i), time.Second))
			r.Incidents = []ledger.Incident{{Kind: api.IncidentRefusal, About: fmt.Sprint("registry.test/denied:", i), Status: 403, Reason: "denied"}}
			r.Checks = []api.CheckRun{{Success: i%100 != 0, Made: 12}}
		}
		l.Take(now, scheduler.Peer{ID: scheduler.PeerID(fmt.Sprintf("12D3KooW%044d", i)), Node: fmt.Sprint("node-", i)}, r)
	}
	return &l
}

func pulled(repo string, took time.Duration) pulls.Record {
	r := pulls.Record{Of: pulls.Name{Host: "registry.test", Repo: repo, Digest: piece.Sum([]byte(repo))}, Tag: "1", Began: time.Now(), Manifest: took / 10, Took: took, Outcome: pulls.Complete}
	for i := range 20 {
		r.Blobs = append(r.Blobs, pulls.Arrival{
			Digest: piece.Sum(fmt.Append(nil, repo, i)), Size: 10 << 20, Asked: took / 10, First: took / 5, Done: took * time.Duration(i+5) / 25, FromPeers: 9 << 20, FromOrigin: 1 << 20,
		})
	}
	return r
}
