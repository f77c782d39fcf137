package daemon_test

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/daemon"
	"github.com/p2pd/p2pd/pkg/piece"
)

// record is a log that can be searched while it is written.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}

// cluster starts nodes before u, and a scheduler. What they log, all of it, is
// in the record. edit may change the nodes' configuration.
func (u *tenants) cluster(t *testing.T, nodes int, edit ...func(*daemon.NodeConfig)) ([]string, *record) {
	t.Helper()
	log := new(record)
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	hub := startHub(t)
	var mirrors []string
	for range nodes {
		cfg := nodeConfig(t, &upstream{Server: u.Server})
		hub.lets(&cfg)
		for _, e := range edit {
			e(&cfg)
		}
		n, err := daemon.NewNode(cfg, "v0.0.0-test", logger)
		if err != nil {
			t.Fatal(err)
		}
		start(t, n.Run)
		until(t, "the scheduler is attached", func() bool {
			_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
			return sample(t, page, "p2pd_scheduler_connected") == "1"
		})
		mirrors = append(mirrors, n.MirrorAddr().String())
	}
	return mirrors, log
}

// Two tenants, each with an image of their own: what one may pull, the other
// may not, wherever its bytes are; and who may not cannot tell where they are.
func TestTenants(t *testing.T) {
	u := newTenants(t)
	mirrors, log := u.cluster(t, 2)
	im := u.repos["a/app"]
	paths := []string{
		"a/app/manifests/1",
		"a/app/manifests/" + im.digest().String(),
		"a/app/blobs/" + piece.Sum(im.config).String(),
		"a/app/blobs/" + piece.Sum(im.layer).String(),
		"a/app/blobs/" + piece.Sum([]byte("nothing")).String(), // for comparison: in no repository
		// The digests under the names of others' repositories.
		"b/app/manifests/" + im.digest().String(),
		"b/app/blobs/" + piece.Sum(im.layer).String(),
		"pub/app/manifests/" + im.digest().String(),
		"pub/app/blobs/" + piece.Sum(im.layer).String(),
	}
	valid := u.mint("a/app")
	others := map[string]string{
		"none": "", "wrong": "secret-made-up", "expired": u.mint(""),
		"other repository's": u.mint("b/app"), "public": u.mint("pub/app"),
	}
	// refusals is what those without a right are told, by all there is to ask.
	refusals := func(mirror string) map[string]answered {
		told := make(map[string]answered)
		for name, token := range others {
			for _, path := range paths {
				for _, method := range []string{http.MethodHead, http.MethodGet} {
					got := u.ask(t, mirror, method, path, token)
					if got.Status == http.StatusOK {
						t.Errorf("with %s token: %s %s is answered", name, method, path)
					}
					told[name+": "+method+" "+path] = got
				}
			}
		}
		return told
	}
	cold := refusals(mirrors[0])
	for state, mirror := range map[string]string{"here": mirrors[0], "on a peer": mirrors[1]} {
		u.pull(t, mirrors[0], "a/app", valid)
		if diff := cmp.Diff(cold, refusals(mirror)); diff != "" {
			t.Errorf("who may not have it can tell that it is %s (-cold +now):\n%s", state, diff)
		}
		u.pull(t, mirror, "a/app", valid)
	}

	u.set(func() { u.down = true })
	for _, mirror := range mirrors {
		for name, got := range refusals(mirror) {
			if got.Status < 400 {
				t.Errorf("with the origin down, %s: status %d", name, got.Status)
			}
		}
		// A right that was proved moments ago still stands; a tag does not.
		got := u.ask(t, mirror, http.MethodGet, paths[3], valid)
		if got.Status != http.StatusOK || got.Body != string(im.layer) {
			t.Errorf("with the origin down, the layer: status %d", got.Status)
		}
		if got := u.ask(t, mirror, http.MethodHead, paths[0], valid); got.Status != http.StatusServiceUnavailable {
			t.Errorf("with the origin down, the tag: %+v", got)
		}
	}
	for _, word := range append(slices.Collect(maps.Values(others)), valid, "secret-token", password) {
		if word != "" && strings.Contains(log.String(), word) {
			t.Errorf("%q is in the log", word)
		}
	}
}

// The way of containerd: no token until it is asked for one, then one of the
// registry's own, for that repository. The origin is asked once for a pull.
func TestAChallengeIsAnswered(t *testing.T) {
	u := newTenants(t)
	mirrors, _ := u.cluster(t, 3)
	for _, mirror := range mirrors {
		for user, repo := range owners {
			u.set(func() { u.asked = nil })
			got := u.ask(t, mirror, http.MethodGet, repo+"/manifests/1", "")
			if got.Status != http.StatusUnauthorized || !strings.Contains(got.Body, "UNAUTHORIZED") {
				t.Fatalf("without a token: %+v", got)
			}
			token := login(t, got.Challenge, user)
			u.pull(t, mirror, repo, token)
			u.set(func() {
				heads := slices.DeleteFunc(slices.Clone(u.asked), func(s string) bool { return !strings.HasPrefix(s, "HEAD") })
				if diff := cmp.Diff([]string{"HEAD /v2/" + repo + "/manifests/1"}, heads); diff != "" {
					t.Errorf("questions for one pull (-want +got):\n%s", diff)
				}
			})
			// Others who log in get a token, and nothing for it.
			for _, other := range []string{"", "alice", "bob"} {
				if other == user {
					continue
				}
				token := login(t, got.Challenge, other)
				if got := u.ask(t, mirror, http.MethodGet, repo+"/manifests/1", token); got.Status != http.StatusUnauthorized {
					t.Errorf("%s with %q's token: %+v", repo, other, got)
				}
			}
		}
		u.pull(t, mirror, "pub/app", "")             // without a challenge
		u.pull(t, mirror, "pub/app", "secret-stale") // whatever is sent
	}
}

// A node that has the image does not give what a policy at the origin now
// withholds, and says why.
func TestAPolicyBeatsTheCache(t *testing.T) {
	u := newTenants(t)
	mirrors, log := u.cluster(t, 1)
	u.pull(t, mirrors[0], "a/app", u.mint("a/app"))
	u.set(func() { u.gated = "a/app" })
	token := u.mint("a/app")
	for _, ref := range []string{"1", u.repos["a/app"].digest().String()} {
		if got := u.ask(t, mirrors[0], http.MethodHead, "a/app/manifests/"+ref, token); got.Status != http.StatusPreconditionFailed {
			t.Errorf("HEAD %s: %+v", ref, got)
		}
		got := u.ask(t, mirrors[0], http.MethodGet, "a/app/manifests/"+ref, token)
		if got.Status != http.StatusPreconditionFailed || !strings.Contains(got.Body, `"PROJECTPOLICYVIOLATION"`) {
			t.Errorf("GET %s: %+v", ref, got)
		}
	}
	if !strings.Contains(log.String(), "too many vulnerabilities") {
		t.Error("the reason is not in the log")
	}
}

// A node's own credentials are for those registries only whose clients the
// operator lets speak by them.
func TestANodesCredentials(t *testing.T) {
	u := newTenants(t)
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("username: alice\npassword: "+password), 0o600); err != nil {
		t.Fatal(err)
	}
	of := func(mode string) func(*daemon.NodeConfig) {
		return func(c *daemon.NodeConfig) {
			c.Registries[0].Credentials.File = file
			c.Access.Modes = daemon.AccessModes{upstreamHost: mode}
		}
	}
	byNode, log := u.cluster(t, 1, of("node"))
	u.pull(t, byNode[0], "a/app", "")
	u.pull(t, byNode[0], "pub/app", "secret-of-somebody")
	other := u.repos["b/app"]
	for path, want := range map[string]int{
		"manifests/1":                              http.StatusUnauthorized,
		"manifests/" + other.digest().String():     http.StatusUnauthorized,
		"blobs/" + piece.Sum(other.layer).String(): http.StatusNotFound,
	} {
		got := u.ask(t, byNode[0], http.MethodGet, "b/app/"+path, u.mint("b/app"))
		if got.Status != want || got.Challenge != "" {
			t.Errorf("what the node may not have, %s: %+v", path, got)
		}
	}
	relay, log2 := u.cluster(t, 1, of("relay"))
	if got := u.ask(t, relay[0], http.MethodGet, "a/app/manifests/1", ""); got.Status != http.StatusUnauthorized || got.Challenge == "" {
		t.Errorf("in relay mode somebody gets what the node may have: %+v", got)
	}
	if s := log.String() + log2.String(); strings.Contains(s, password) || strings.Contains(s, "secret-") {
		t.Error("a credential is in the log")
	}
}
