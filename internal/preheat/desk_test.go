package preheat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// run runs a desk until the test or stop ends it.
func run(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil
	}
	t.Cleanup(stop)
	return stop
}

// node runs an agent that reports to desks.
func (w *world) node(t *testing.T, id scheduler.PeerID, e *engine, desks ...*Desk) (stop func()) {
	t.Helper()
	return w.unpacker(t, id, e, nil, desks...)
}

// unpacker runs one that has a container runtime, unless r is nil.
func (w *world) unpacker(t *testing.T, id scheduler.PeerID, e *engine, r Runtime, desks ...*Desk) (stop func()) {
	t.Helper()
	a := NewAgent(AgentConfig{Self: id, Engine: e, Runtime: r, Report: func(r scheduler.PreheatReport) {
		for _, k := range desks {
			k.Reported(r)
		}
	}})
	w.mu.Lock()
	w.agents[id] = a
	w.mu.Unlock()
	return run(t, a.Run)
}

// A job ends once all its nodes have all of what they run; and they are told what
// to read it with.
func TestAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.image(t, "v1")
		w.attach("a/z1/linux/amd64", "b/z2/linux/arm64")
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		slow, fast := newEngine(false), newEngine(true)
		w.node(t, "a", slow, k)
		w.node(t, "b", fast, k)
		j, err := k.Create(t.Context(), api.PreheatRequest{Image: host + "/team/private:v1", Scope: api.PreheatAll, Credential: &api.PreheatCredential{Username: "robot", Password: "hunter2"}})
		if err != nil || j.State != api.PreheatPending || j.ID < 1 || j.ID > scheduler.PreheatJobMost {
			t.Fatalf("created: %+v, %v", j, err)
		}
		time.Sleep(5 * time.Second)
		j, _ = k.Job(t.Context(), j.ID)
		if j.State != api.PreheatRunning || j.Done != 1 || j.Bytes <= j.OfAll/2 || j.Bytes >= j.OfAll {
			t.Errorf("half-way: %+v", j)
		}
		told := w.told("b")
		if len(told) != 1 || told[0].Authorization.Reveal() != "Bearer good" || told[0].Registry != host || told[0].Repository != private || len(told[0].Blobs) != 5 {
			t.Errorf("node b was told %+v", told)
		}
		close(slow.go_)
		j = job(t, k, j.ID, api.PreheatSucceeded)
		if j.Done != 2 || j.Failed != 0 || j.Bytes != j.OfAll || j.Ended == nil || len(k.secrets) != 0 {
			t.Errorf("in the end: %+v", j)
		}
		if all := k.Jobs(); len(all) != 1 || all[0].NodeItems != nil {
			t.Errorf("list: %+v", all)
		}
		if s := k.Stats(); s.Succeeded != 1 || s.Took.Count() != 1 || s.Took.Sum != j.Ended.Sub(j.Created) {
			t.Errorf("counted: %+v of a job that took %v", s, j.Ended.Sub(j.Created))
		}
	})
}

// What goes wrong on a node, or with it, is told of that node; the others get
// theirs.
func TestNodesThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.image(t, "v1")
		w.attach("good/z", "full/z", "deaf/z", "gone/z", "slow/z")
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		full := newEngine(true)
		full.err = fmt.Errorf("disk full: %w", errTest)
		w.node(t, "good", newEngine(true), k)
		w.node(t, "full", full, k)
		w.node(t, "slow", newEngine(false), k)
		j, err := k.Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:v1", Scope: api.PreheatAll, Timeout: "10m"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		w.mu.Lock()
		w.peers = append(w.peers[:3:3], w.peers[4]) // gone goes
		w.mu.Unlock()
		j = job(t, k, j.ID, api.PreheatFailed)
		want := map[string]string{"good": "", "full": "disk full", "deaf": "does not answer", "gone": "offline", "slow": "not done within 10m"}
		for _, n := range j.NodeItems {
			if (n.Error == "") != (want[n.Peer] == "") || !strings.Contains(n.Error, want[n.Peer]) {
				t.Errorf("%s: %q, want %q", n.Peer, n.Error, want[n.Peer])
			}
			if (n.FailedBlob != "") != (n.Peer == "full") {
				t.Errorf("%s: failed blob %q", n.Peer, n.FailedBlob)
			}
		}
		if !strings.HasPrefix(j.Error, "4 of 5 nodes failed: ") || !strings.HasSuffix(j.Error, "; and 1 more") {
			t.Errorf("job: %q", j.Error)
		}
		if took := j.Ended.Sub(j.Created); took > 11*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// A node that is started anew is told again, and goes on.
func TestANodeRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.image(t, "v1")
		w.attach("a/z")
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		stop := w.node(t, "a", newEngine(false), k)
		j, err := k.Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:v1"})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		stop()
		w.node(t, "a", newEngine(true), k)
		if j = job(t, k, j.ID, api.PreheatSucceeded); j.Ended.Sub(j.Created) > time.Minute {
			t.Errorf("it took %v", j.Ended.Sub(j.Created))
		}
		if n := len(w.told("a")); n != 2 {
			t.Errorf("it was told %d times, want 2", n)
		}
	})
}

// A second job that asks for the same is the first one, as long as it could not
// find another image; one with a credential never is.
func TestTwins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := w.image(t, "v1")
		w.attach("a/z")
		w.blocked = make(chan struct{})
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		w.node(t, "a", newEngine(false), k)
		create := func(r api.PreheatRequest) int64 {
			t.Helper()
			j, err := k.Create(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return j.ID
		}
		tag := api.PreheatRequest{Image: host + "/team/app:v1"}
		pinned := api.PreheatRequest{Image: host + "/team/app@" + d.String()}
		secretly := pinned
		secretly.Credential = &api.PreheatCredential{Token: "good"}
		first, other := create(tag), create(api.PreheatRequest{Image: host + "/team/app:v1", Scope: api.PreheatAll})
		if again := create(tag); again != first || other == first {
			t.Errorf("jobs %d, %d, and again %d", first, other, again)
		}
		close(w.blocked)
		job(t, k, first, api.PreheatRunning)
		if again := create(tag); again == first {
			t.Error("a tag that has been looked up may be another image now")
		}
		byDigest := create(pinned)
		job(t, k, byDigest, api.PreheatRunning)
		if again := create(pinned); again != byDigest {
			t.Error("a digest is the same image for ever")
		}
		if one, two := create(secretly), create(secretly); one == two {
			t.Error("two credentials are two jobs")
		}
	})
}

// Nodes forget a job that is cancelled, and what comes of it changes nothing.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.image(t, "v1")
		w.attach("a/z")
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		e := newEngine(false)
		w.node(t, "a", e, k)
		j, err := k.Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:v1"})
		if err != nil {
			t.Fatal(err)
		}
		job(t, k, j.ID, api.PreheatRunning)
		time.Sleep(3 * time.Second)
		if j, ok := k.Cancel(j.ID, "no more"); !ok || j.State != api.PreheatCancelled || j.Error != "no more" {
			t.Errorf("cancelled: %v %+v", ok, j)
		}
		time.Sleep(3 * time.Second)
		close(e.go_)
		time.Sleep(10 * time.Second)
		if j, _ := k.Job(t.Context(), j.ID); j.State != api.PreheatCancelled || j.Done != 0 {
			t.Errorf("later: %+v", j)
		}
		if again, ok := k.Cancel(j.ID, "again"); !ok || again.Error != "no more" {
			t.Errorf("cancelled again: %v %+v", ok, again)
		}
		if _, ok := k.Cancel(j.ID+1, ""); ok {
			t.Error("a job that is not there is cancelled")
		}
	})
}

// Many jobs at once, and too fast, are refused; those that are old are forgotten.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.blocked = make(chan struct{})
		w.attach("a/z")
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		refused := 0
		var last int64
		for i := range 2 * maxRunning {
			j, err := k.Create(t.Context(), api.PreheatRequest{Image: fmt.Sprintf("%s/team/app:v%d", host, i)})
			if err == nil {
				last = j.ID
			} else if e, ok := errors.AsType[*api.Error](err); !ok || e.Status != http.StatusTooManyRequests {
				t.Fatalf("job %d: %v", i, err)
			} else {
				refused++
			}
		}
		if refused != maxRunning {
			t.Errorf("%d of %d jobs were refused", refused, 2*maxRunning)
		}
		if _, err := k.Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:fast"}); err == nil || !strings.Contains(err.Error(), "a second") {
			t.Errorf("one too fast: %v", err)
		}
		if j := job(t, k, last, api.PreheatFailed); !strings.Contains(j.Error, "deadline") {
			t.Errorf("a registry that does not answer: %q", j.Error)
		}
		synctest.Wait()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.table.Forget(time.Now().Add(keepFor / 2))
		if n := len(k.table.jobs); n != maxRunning {
			t.Errorf("%d jobs half a day after they ended, want %d", n, maxRunning)
		}
		k.table.Forget(time.Now().Add(keepFor + time.Minute))
		if n := len(k.table.jobs); n != 0 {
			t.Errorf("%d jobs a day after they ended", n)
		}
	})
}

// fleet is desks that tell each other, over one world.
func fleet(t *testing.T, w *world, names ...string) (desks []*Desk, stop []func()) {
	t.Helper()
	for _, name := range names {
		k := NewDesk(Config{Registries: w, Peers: w, Self: name, Tell: func(news []byte) {
			if strings.Contains(string(news), "hunter2") || strings.Contains(string(news), "Bearer") {
				t.Errorf("a credential is told to other schedulers: %s", news)
			}
			for i, other := range desks {
				if names[i] != name {
					other.Heard(news)
				}
			}
		}})
		k.SetRoster(names)
		desks = append(desks, k)
	}
	for _, k := range desks {
		stop = append(stop, run(t, k.Run))
	}
	return desks, stop
}

// Any scheduler answers for any job, ends it when the one that took it has died,
// and cancels it; and one that comes up hears of all.
func TestAnyDeskAnswers(t *testing.T) {
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprintf("it dies before the image was looked up: %v", before), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.image(t, "v1")
				w.attach("a/z", "b/z")
				if before {
					w.blocked = make(chan struct{})
				}
				desks, stop := fleet(t, w, "one:1", "two:1", "three:1")
				e := newEngine(false)
				w.node(t, "a", newEngine(true), desks...)
				w.node(t, "b", e, desks...)
				j, err := desks[0].Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:v1", Scope: api.PreheatAll})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				stop[0]()
				for _, k := range desks[1:] {
					k.SetRoster([]string{"two:1", "three:1"})
				}
				if before {
					w.mu.Lock()
					close(w.blocked)
					w.blocked = nil
					w.mu.Unlock()
				}
				for _, k := range desks[1:] {
					if got := job(t, k, j.ID, api.PreheatRunning); got.Scheduler != "one:1" || got.Nodes != 2 {
						t.Errorf("while it runs: %+v", got)
					}
				}
				time.Sleep(5 * time.Second)
				close(e.go_)
				for _, k := range desks[1:] {
					if got := job(t, k, j.ID, api.PreheatSucceeded); got.Done != 2 {
						t.Errorf("in the end: %+v", got)
					}
				}
				again, err := desks[1].Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:v1"})
				if _, ok := desks[2].Job(t.Context(), again.ID); err != nil || !ok {
					t.Errorf("a job that another one has just taken: %v, %v", ok, err)
				}
				if _, ok := desks[2].Job(t.Context(), again.ID+1); ok {
					t.Error("a job that nobody has taken is known")
				}
				late := NewDesk(Config{Registries: w, Peers: w, Self: "four:1"})
				late.Heard(desks[1].News())
				if got, ok := late.Job(t.Context(), j.ID); !ok || got.State != api.PreheatSucceeded || got.Done != 2 {
					t.Errorf("one that comes later: %v %+v", ok, got)
				}
			})
		})
	}
}

// A credential is in the memory of the scheduler that took the job: when that dies
// before the nodes were told, the job says so. Nodes that were told go on.
func TestACredentialGoesWithItsScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.image(t, "v1")
		w.attach("a/z", "b/z")
		desks, stop := fleet(t, w, "one:1", "two:1")
		e := newEngine(false)
		w.node(t, "a", e, desks...)
		w.node(t, "b", newEngine(false), desks...)()
		j, err := desks[0].Create(t.Context(), api.PreheatRequest{
			Image: host + "/" + private + ":v1", Scope: api.PreheatAll, Credential: &api.PreheatCredential{Username: "robot", Password: "hunter2"},
		})
		if err != nil {
			t.Fatal(err)
		}
		job(t, desks[1], j.ID, api.PreheatRunning)
		time.Sleep(time.Second)
		stop[0]()
		desks[1].SetRoster([]string{"two:1"})
		w.node(t, "b", newEngine(true), desks[1])
		time.Sleep(20 * time.Second)
		close(e.go_)
		j = job(t, desks[1], j.ID, api.PreheatFailed)
		if j.Done != 1 || j.Failed != 1 || !strings.Contains(j.Error, "credential of this job went with the scheduler") {
			t.Errorf("job: %+v", j)
		}
	})
}

// A login is traded anew while nodes fetch, and they read with what is new.
func TestTokensAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.image(t, "v1")
		w.attach("a/z")
		k := NewDesk(Config{Registries: w, Peers: w})
		run(t, k.Run)
		e := newEngine(false)
		w.node(t, "a", e, k)
		j, err := k.Create(t.Context(), api.PreheatRequest{Image: host + "/" + private + ":v1", Credential: &api.PreheatCredential{Username: "robot", Password: "hunter2"}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		if n := len(w.told("a")); n != 3 {
			t.Errorf("told %d times in 9 minutes, want 3", n)
		}
		for _, d := range w.told("a") {
			if d.Authorization.Reveal() != "Bearer good" || strings.Contains(fmt.Sprintf("%+v", d), "good") {
				t.Errorf("told %+v", d)
			}
		}
		e.mu.Lock()
		e.only = secret.New("Bearer another")
		e.mu.Unlock()
		close(e.go_)
		if j = job(t, k, j.ID, api.PreheatFailed); !strings.Contains(j.Error, "expired") {
			t.Errorf("a token that is not taken any more: %q", j.Error)
		}
	})
}
