package preheat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// labels is a platform at which some nodes fit every selector.
type labels struct {
	fit   []string // sorted
	err   error
	asked []string
}

func (l *labels) NodesWith(_ context.Context, selector string) ([]string, error) {
	l.asked = append(l.asked, selector)
	return l.fit, l.err
}

// answer is a refusal of the API server's, in its words.
type answer struct {
	refusal
	words string
}

func (a answer) Error() string { return a.words }

// named are the peers of a job, by name.
func named(j api.Preheat) string {
	var all []string
	for _, n := range j.NodeItems {
		all = append(all, n.Peer)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// A job goes to the nodes that a selector fitted when it was asked for, whoever chooses
// them in the end, and whatever has become of the labels by then. Once they are chosen,
// their names are told to no other scheduler any more.
func TestASelectorIsAnsweredOnce(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("the scheduler that asked dies: %v", dies), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.image(t, "v1")
				w.blocked = make(chan struct{})
				w.attach("a/z", "b/z", "c/z", "d/y")
				desks, stop := fleet(t, w, "one:1", "two:1")
				platform := &labels{fit: []string{"node-a", "node-d", "node-elsewhere"}}
				desks[0].cfg.Labels = platform
				for _, id := range []scheduler.PeerID{"a", "b", "c", "d"} {
					w.node(t, id, newEngine(true), desks...)
				}
				j, err := desks[0].Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:v1", Selector: " gpu=true,!spot "})
				if err != nil || j.Selector != "gpu=true,!spot" || j.Scope != api.PreheatAll {
					t.Fatalf("created: %+v, %v", j, err)
				}
				time.Sleep(time.Second)
				platform.fit = []string{"node-b"}
				if dies {
					stop[0]()
					desks[1].SetRoster([]string{"two:1"})
				}
				if news := string(desks[1].News()); !strings.Contains(news, "node-elsewhere") {
					t.Errorf("before nodes are chosen, the other scheduler does not know which may be: %s", news)
				}
				w.mu.Lock()
				close(w.blocked)
				w.blocked = nil
				w.mu.Unlock()
				got := job(t, desks[1], j.ID, api.PreheatSucceeded)
				if named(got) != "a d" || got.Selector != "gpu=true,!spot" || len(platform.asked) != 1 || platform.asked[0] != "gpu=true,!spot" {
					t.Errorf("%s got it by %q, after the questions %q", named(got), got.Selector, platform.asked)
				}
				time.Sleep(time.Second)
				for i, k := range desks {
					if news := string(k.News()); !(dies && i == 0) && (strings.Contains(news, "node-elsewhere") || !strings.Contains(news, "gpu=true")) {
						t.Errorf("desk %d still tells the names: %s", i, news)
					}
				}
			})
		})
	}
}

// Two jobs are one if their selectors are and fit the same nodes, even once the names are
// gone.
func TestTwinsBySelector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		pinned := host + "/team/app@" + w.image(t, "v1").String()
		w.attach("a/z", "b/z")
		platform := &labels{fit: []string{"node-a"}}
		k := NewDesk(Config{Registries: w, Peers: w, Labels: platform})
		run(t, k.Run)
		w.node(t, "a", newEngine(false), k)
		w.node(t, "b", newEngine(false), k)
		ask := func(selector string) int64 {
			t.Helper()
			j, err := k.Create(t.Context(), api.PreheatRequest{Image: pinned, Selector: selector})
			if err != nil {
				t.Fatal(err)
			}
			job(t, k, j.ID, api.PreheatRunning)
			return j.ID
		}
		first := ask("gpu")
		if again := ask("gpu"); again != first {
			t.Error("the same selector with the same nodes is another job")
		}
		if other := ask("gpu=true"); other == first {
			t.Error("another selector is the same job")
		}
		if all := ask(""); all == first {
			t.Error("no selector is the same job")
		}
		platform.fit = []string{"node-a", "node-b"}
		if more := ask("gpu"); more == first {
			t.Error("more nodes with that label are the same job")
		}
	})
}

// Whoever asks learns why there are no nodes, and what to do.
func TestSelectorsThatFail(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.attach("a/z")
	for _, tt := range []struct {
		name     string
		platform Labels
		selector string
		code     int
		says     []string
	}{
		{"outside Kubernetes", nil, "gpu", 409, []string{"selector needs schedulers that run in Kubernetes; name nodes by pattern instead"}},
		{"blank", &labels{}, " ", 400, []string{"blank"}},
		{"long", &labels{}, strings.Repeat("x", maxSelector+1), 400, []string{"4097 bytes", "4096"}},
		{"malformed", &labels{err: answer{400, "unable to parse requirement: found '', expected: '('"}}, "gpu in", 400, []string{`"gpu in"`, "unable to parse requirement: found '', expected: '('"}},
		{"not allowed", &labels{err: fmt.Errorf("list: %w", answer{403, "nodes is forbidden"})}, "gpu", 403, []string{"nodes is forbidden", `{apiGroups: [""], resources: [nodes], verbs: [list]}`, "preheat.selectors"}},
		{"no answer", &labels{err: errors.New("connection refused")}, "gpu", 503, []string{"connection refused", "again"}},
		{"overloaded", &labels{err: answer{429, "too many"}}, "gpu", 503, []string{"too many"}},
		{"no node fits", &labels{}, "gpu", 409, []string{`no node of the Kubernetes cluster fits "gpu"`}},
		{"one without p2pd", &labels{fit: []string{"node-x"}}, "gpu", 409, []string{`"gpu" fits node node-x, but no p2pd`, "peer ls"}},
		{"several without p2pd", &labels{fit: []string{"node-1", "node-2", "node-3", "node-4", "node-5"}}, "gpu", 409, []string{"5 nodes (node-1, node-2, node-3 and 2 more)"}},
	} {
		k := NewDesk(Config{Registries: w, Peers: w, Labels: tt.platform})
		_, err := k.Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:v1", Selector: tt.selector})
		e, ok := errors.AsType[*api.Error](err)
		if !ok || e.Status != tt.code {
			t.Errorf("%s: %v, want %d", tt.name, err, tt.code)
			continue
		}
		for _, want := range tt.says {
			if !strings.Contains(e.Error(), want) {
				t.Errorf("%s: %q does not say %q", tt.name, e, want)
			}
		}
		if len(k.Jobs()) != 0 {
			t.Errorf("%s: there is a job", tt.name)
		}
	}
}

// Questions at the API server are as few as jobs, whatever comes of them.
func TestQuestionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		platform := &labels{}
		k := NewDesk(Config{Registries: newWorld(), Peers: newWorld(), Labels: platform})
		for range 2 * createBurst {
			_, err := k.Create(t.Context(), api.PreheatRequest{Image: host + "/team/app:v1", Selector: "gpu"})
			if e, ok := errors.AsType[*api.Error](err); !ok || e.Status != http.StatusConflict && e.Status != http.StatusTooManyRequests {
				t.Fatal(err)
			}
		}
		if n := len(platform.asked); n != createBurst {
			t.Errorf("it was asked %d times, want %d", n, createBurst)
		}
	})
}
