package access

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// town is what the nodes of a cluster know, without clock or wire.
type town struct {
	mu    sync.Mutex // guards what follows
	ages  map[string]time.Duration
	asked int
}

func (v *town) Vouch(r Repo, d piece.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ages[r.String()+d.String()] = 0
}

func (v *town) Recall(_ context.Context, r Repo, d piece.Digest) (time.Duration, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked++
	age, ok := v.ages[r.String()+d.String()]
	return age, ok
}

// What the origin showed one node to anybody, others give while it is down:
// the manifest and what that lists, and nothing else.
func TestTheClusterKnowsWhatIsPublic(t *testing.T) {
	v := &town{ages: make(map[string]time.Duration)}
	first := newBench(t, Config{Commons: v}, onlyFor(""))
	if _, _, err := first.Resolve(t.Context(), by(), "v1"); err != nil { // stands for index
		t.Fatal(err)
	}
	other := piece.Sum([]byte("other"))
	down := func(Caller, Question) (Found, error) { return Found{}, errDown }
	for _, tt := range []struct {
		name, want string
		config     Config
		kind       Kind
		digest     piece.Digest
		repo       Repo
	}{
		{"its manifest", "allowed", Config{Commons: v}, Manifest, index, private},
		{"a layer of it", "allowed", Config{Commons: v}, Blob, layer, private},
		{"another manifest", "unavailable", Config{Commons: v}, Manifest, other, private},
		{"another blob", "unavailable", Config{Commons: v}, Blob, other, private},
		{"the manifest's own digest as a blob", "unavailable", Config{Commons: v}, Blob, index, private},
		{"another repository", "unavailable", Config{Commons: v}, Manifest, index, Repo{private.Host, "team/other"}},
		{"nobody to ask", "unavailable", Config{}, Manifest, index, private},
		{"the node's own credential", "unavailable", Config{Commons: v, Mode: always(ByNode)}, Manifest, index, private},
	} {
		b := newBench(t, tt.config, down)
		b.Link(tt.repo, index, []piece.Digest{layer})
		grant, err := b.Admit(t.Context(), Asked{Repo: tt.repo}, tt.kind, tt.digest)
		if got := verdict(err); got != tt.want || grant.Caller.Identity != Anonymous {
			t.Errorf("%s: %s as %d (%v), want %s", tt.name, got, grant.Caller.Identity, err, tt.want)
		}
	}
}

// A word counts as long as one's own proof would, and less than what the
// registry said later.
func TestHowFarTheOthersAreBelieved(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		age        time.Duration
		before     func(*testing.T, *bench)
	}{
		{"young enough", "allowed", 59 * time.Minute, nil},
		{"too old", "unavailable", time.Hour, nil},
		{"known to be private since", "unavailable", 59 * time.Minute, func(t *testing.T, b *bench) {
			if _, err := b.Admit(t.Context(), by("Bearer x"), Manifest, index); verdict(err) != "allowed" {
				t.Fatal(err)
			}
			if _, err := b.Admit(t.Context(), by(), Manifest, index); verdict(err) != "challenged" {
				t.Fatal(err)
			}
			b.now = b.now.Add(10 * time.Minute)
		}},
	} {
		v := &town{ages: map[string]time.Duration{private.String() + index.String(): tt.age}}
		b := newBench(t, Config{Commons: v}, onlyFor("Bearer x"))
		if tt.before != nil {
			tt.before(t, b)
		}
		b.registry.answer = func(Caller, Question) (Found, error) { return Found{}, errDown }
		_, err := b.Admit(t.Context(), by("Bearer y"), Manifest, index)
		if got := verdict(err); got != tt.want {
			t.Errorf("%s: %s (%v), want %s", tt.name, got, err, tt.want)
		}
	}
}

// While the origin answers, nobody else is asked.
func TestTheOriginComesFirst(t *testing.T) {
	v := &town{ages: make(map[string]time.Duration)}
	v.Vouch(private, index)
	b := newBench(t, Config{Commons: v}, onlyFor("Bearer x"))
	_, err := b.Admit(t.Context(), by(), Manifest, index)
	if got := verdict(err); got != "challenged" || v.asked != 0 {
		t.Errorf("%s, and the others were asked %d times", got, v.asked)
	}
}

// A registry that hangs holds up nobody for whom the others can speak, and is
// waited for otherwise.
func TestASlowRegistry(t *testing.T) {
	for known, want := range map[bool]time.Duration{true: recallFrom, false: 3 * time.Second} {
		t.Run(fmt.Sprint(known), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &town{ages: make(map[string]time.Duration)}
				if known {
					v.Vouch(private, index)
				}
				b := newBench(t, Config{Commons: v}, func(Caller, Question) (Found, error) {
					time.Sleep(3 * time.Second)
					return Found{Digest: index}, nil
				})
				began := time.Now()
				if _, err := b.Admit(t.Context(), by(), Manifest, index); err != nil || time.Since(began) != want {
					t.Errorf("%v after %v, want %v", err, time.Since(began), want)
				}
				synctest.Wait()
				time.Sleep(5 * time.Second) // the question ends
			})
		})
	}
}
