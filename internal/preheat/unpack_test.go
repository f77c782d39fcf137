package preheat

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// containers is a container runtime that remembers what it was asked for.
type containers struct {
	mu     sync.Mutex
	has    []piece.Digest // what names stand for there
	err    error
	held   chan struct{} // a pull ends when it is closed
	pulled []string      // IMAGE and LOGIN
	gone   int           // pulls that were given up
}

func newContainers(has ...piece.Digest) *containers {
	c := &containers{has: has, held: make(chan struct{})}
	close(c.held)
	return c
}

func (c *containers) Pull(ctx context.Context, image string, login secret.Value) ([]piece.Digest, error) {
	c.mu.Lock()
	c.pulled = append(c.pulled, image+" "+login.Reveal())
	c.mu.Unlock()
	select {
	case <-c.held:
		return c.has, c.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		c.gone++
		return nil, ctx.Err()
	}
}

func (c *containers) asked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.pulled, ", ")
}

// What is preheated into containerd is pulled there once it is here and nobody waits
// for a pull, by its tag and with the job's login. A node that cannot says so, and so
// does one whose containerd got something else.
func TestIntoContainerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := w.image(t, "v1")
		w.attach("good+/z", "cannot/z", "moved+/z", "broken+/z", "off+/z")
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		good, moved, broken := newContainers(d), newContainers(piece.Sum([]byte("another"))), newContainers(d)
		broken.err = errTest
		e := newEngine(false)
		w.unpacker(t, "good", e, good, k)
		for id, r := range map[string]Runtime{"moved": moved, "broken": broken, "off": nil} {
			w.unpacker(t, scheduler.PeerID(id), newEngine(true), r, k)
		}
		j, err := k.Create(t.Context(), api.PreheatRequest{
			Image: host + "/" + private + ":v1", Scope: api.PreheatAll, Into: api.PreheatContainerd,
			Credential: &api.PreheatCredential{Username: "robot", Password: "hunter2"},
		})
		if err != nil || j.Into != api.PreheatContainerd {
			t.Fatalf("%+v, %v", j, err)
		}
		stands := func() string {
			j, _ := k.Job(t.Context(), j.ID)
			for _, n := range j.NodeItems {
				if n.Peer == "good" {
					return n.State
				}
			}
			return ""
		}
		time.Sleep(5 * time.Second)
		if st, asked := stands(), good.asked(); st != api.PreheatFetching || asked != "" {
			t.Errorf("before it is here: %s, asked for %q", st, asked)
		}
		e.setBusy(true)
		close(e.go_)
		time.Sleep(time.Minute)
		if st, asked := stands(), good.asked(); st != api.PreheatUnpacking || asked != "" {
			t.Errorf("while somebody waits for a pull: %s, asked for %q", st, asked)
		}
		e.setBusy(false)
		j = job(t, k, j.ID, api.PreheatFailed)
		if asked, want := good.asked(), host+"/"+private+":v1 cm9ib3Q6aHVudGVyMg=="; asked != want {
			t.Errorf("asked for %q, want %q", asked, want)
		}
		want := map[string]string{"good": "", "cannot": "containerd.criSocket", "moved": "pushed anew", "broken": errTest.Error(), "off": "containerd.criSocket"}
		for _, n := range j.NodeItems {
			if (n.Error == "") != (want[n.Peer] == "") || !strings.Contains(n.Error, want[n.Peer]) {
				t.Errorf("%s: %q, want %q", n.Peer, n.Error, want[n.Peer])
			}
		}
		if told := w.told("cannot"); len(told) != 0 {
			t.Errorf("a node that cannot was told %+v", told)
		}
	})
}

// Where no node can, the job says what to do; one that is cancelled ends the pull.
func TestIntoContainerdEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := w.image(t, "v1")
		w.attach("a/z")
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		ask := api.PreheatRequest{Image: host + "/team/app:v1", Into: api.PreheatContainerd}
		j, err := k.Create(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		if j = job(t, k, j.ID, api.PreheatFailed); !strings.Contains(j.Error, "none can: ") || !strings.Contains(j.Error, "containerd.criSocket") {
			t.Errorf("nobody can: %q", j.Error)
		}
		w.attach("b+/z")
		r := newContainers(d)
		r.held = make(chan struct{})
		w.unpacker(t, "b", newEngine(true), r, k)
		first, err := k.Create(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		ask.Image = host + "/team/other:v1"
		second, err := k.Create(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if asked := r.asked(); strings.Count(asked, "team/") != 1 {
			t.Errorf("two images at once, and asked for %q", asked)
		}
		for _, j := range []api.Preheat{first, second} {
			if _, ok := k.Cancel(j.ID, "enough"); !ok {
				t.Errorf("job %d is not known", j.ID)
			}
		}
		time.Sleep(5 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.gone != 1 || len(r.pulled) != 1 {
			t.Errorf("cancelled: %d pulls given up of %q", r.gone, r.pulled)
		}
	})
}
