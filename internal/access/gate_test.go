package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Each mode, and what it makes of the headers that clients send.
func TestModes(t *testing.T) {
	const bearer, basic = "Bearer hunter2", "Basic dXNlcjpwYXNz"
	basicOnly := func(who Caller, _ Question) (Found, error) {
		if who.Authorization.Reveal() == basic {
			return Found{Digest: index}, nil
		}
		return Found{}, &DeniedError{Status: 401, Challenge: Challenge{Scheme: "Basic", Realm: "r"}}
	}
	nodeOnly := func(who Caller, _ Question) (Found, error) {
		if who.Identity == Node {
			return Found{Digest: index}, nil
		}
		return onlyFor("nobody")(who, Question{})
	}
	for _, tt := range []struct {
		name    string
		mode    Mode
		origin  func(Caller, Question) (Found, error)
		headers []string
		want    string
		as      Identity
	}{
		{"relay, none", Relay, onlyFor(bearer), nil, "challenged", 0},
		{"relay, the right token", Relay, onlyFor(bearer), []string{bearer}, "allowed", Client},
		{"relay, spelled otherwise", Relay, onlyFor(bearer), []string{"bearer  hunter2"}, "allowed", Client},
		{"relay, another token", Relay, onlyFor(bearer), []string{"Bearer other"}, "challenged", 0},
		{"relay, two headers", Relay, onlyFor(bearer), []string{bearer, bearer}, "challenged", 0},
		{"relay, more than a token", Relay, onlyFor(bearer), []string{bearer + "\r\nX: y"}, "challenged", 0},
		{"relay, immense", Relay, onlyFor(bearer), []string{"Bearer " + strings.Repeat("x", maxCredential)}, "challenged", 0},
		{"relay, a password", Relay, basicOnly, []string{basic}, "refused", 0},
		{"relay, a registry that wants one", Relay, basicOnly, nil, "refused", 0},
		{"relay, public", Relay, onlyFor(""), nil, "allowed", Anonymous},
		{"relay, public, with a token", Relay, onlyFor(""), []string{bearer}, "allowed", Anonymous},
		{"relay, what the node may", Relay, nodeOnly, nil, "challenged", 0},
		{"basic, none", Basic, basicOnly, nil, "challenged", 0},
		{"basic, a password", Basic, basicOnly, []string{basic}, "allowed", Client},
		{"basic, not base64", Basic, basicOnly, []string{"Basic ?"}, "challenged", 0},
		{"basic, a registry with tokens", Basic, onlyFor(bearer), []string{bearer}, "allowed", Client},
		{"node", ByNode, nodeOnly, nil, "allowed", Node},
		{"node, with a token", ByNode, nodeOnly, []string{bearer}, "allowed", Node},
		{"node, refused", ByNode, onlyFor(bearer), []string{bearer}, "refused", 0},
		{"open", Open, nodeOnly, nil, "allowed", Node},
		{"open, down", Open, func(Caller, Question) (Found, error) { return Found{}, errDown }, nil, "allowed", Node},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{Mode: always(tt.mode)}, tt.origin)
			grant, err := b.Admit(t.Context(), by(tt.headers...), Blob, layer)
			if got := verdict(err); got != tt.want || grant.Caller.Identity != tt.as {
				t.Errorf("%s as %d (%v), want %s as %d", got, grant.Caller.Identity, err, tt.want, tt.as)
			}
			if s := fmt.Sprintf("%+v %v %s", grant, err, b.log.String()); strings.Contains(s, "hunter2") || strings.Contains(s, "dXNlcjpwYXNz") {
				t.Errorf("a credential shows in %s", s)
			}
		})
	}
}

// What is relayed asks for the one repository, whatever the registry says.
func TestWhatIsRelayed(t *testing.T) {
	for _, tt := range []struct{ scope, want string }{
		{"", `Bearer realm="https://r/t",service="s",scope="repository:team/app:pull"`},
		{"repository:user/image:pull,push registry:catalog:*", `Bearer realm="https://r/t",service="s",scope="repository:team/app:pull"`},
		{"aws", `Bearer realm="https://r/t",service="s",scope="aws"`},
	} {
		got, err := relayed(private, Relay, Challenge{"Bearer", "https://r/t", "s", tt.scope})
		if got != tt.want || err != nil {
			t.Errorf("scope %q: %q, %v; want %q", tt.scope, got, err, tt.want)
		}
	}
	for _, c := range []Challenge{{}, {Scheme: "Basic", Realm: "r"}, {Scheme: "Digest"}} {
		if got, err := relayed(private, Relay, c); got != "" || err == nil {
			t.Errorf("%+v is relayed as %q", c, got)
		}
	}
}

// How long decisions stand: a right, a refusal, and either while the origin is
// down.
func TestHowLongDecisionsStand(t *testing.T) {
	const token = "Bearer token"
	for _, tt := range []struct {
		name  string
		allow bool
		owner string // who may read it: a token, or "" for all
		down  bool
		after time.Duration
		want  string
		asked int // questions then
	}{
		{"a right", false, token, false, MaxTTL - 1, "allowed", 0},
		{"a right that is old is proved again", false, token, false, MaxTTL, "allowed", 1},
		{"down, a right of late", false, token, true, MaxTTL - 1, "allowed", 0},
		{"down, denied", false, token, true, MaxTTL, "unavailable", 1},
		{"down, allowed", true, token, true, DefaultRecent - 1, "allowed", 1},
		{"down, allowed but old", true, token, true, DefaultRecent, "unavailable", 1},
		{"down, public", false, "", true, DefaultRecent - 1, "allowed", 1},
		{"down, public but old", false, "", true, DefaultRecent, "unavailable", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Config{Table: TableConfig{AllowRecent: tt.allow}}, onlyFor(tt.owner))
			if _, _, err := b.Resolve(t.Context(), by(token), "1"); err != nil {
				t.Fatal(err)
			}
			b.Link(private, index, []piece.Digest{layer})
			before := b.registry.count()
			b.now = b.now.Add(tt.after)
			if tt.down {
				b.registry.answer = func(Caller, Question) (Found, error) { return Found{}, errDown }
			}
			_, err := b.Admit(t.Context(), by(token), Blob, layer)
			if got := verdict(err); got != tt.want {
				t.Errorf("%s (%v), want %s", got, err, tt.want)
			}
			if got := b.registry.count() - before; got != tt.asked {
				t.Errorf("%d questions, want %d: %v", got, tt.asked, b.registry.asked[before:])
			}
		})
	}
}

func TestARefusalStandsForSeconds(t *testing.T) {
	b := newBench(t, Config{}, onlyFor("nobody's"))
	ask := func() string {
		_, err := b.Admit(t.Context(), by("Bearer token"), Manifest, index)
		return verdict(err)
	}
	if got := ask(); got != "challenged" {
		t.Fatal(got)
	}
	before := b.registry.count()
	b.registry.answer = onlyFor("Bearer token")
	if got := ask(); got != "challenged" || b.registry.count() != before {
		t.Errorf("at once: %s after %d questions", got, b.registry.count()-before)
	}
	b.now = b.now.Add(MaxRefusalTTL)
	if got := ask(); got != "allowed" {
		t.Errorf("later: %s", got)
	}
}

// A registry that wants to be left alone is.
func TestABusyOriginIsLeftAlone(t *testing.T) {
	b := newBench(t, Config{}, func(Caller, Question) (Found, error) {
		return Found{}, &BusyError{RetryAfter: 30 * time.Second, Err: errors.New("429")}
	})
	for _, wait := range []time.Duration{0, 29 * time.Second, time.Second} {
		b.now = b.now.Add(wait)
		if _, err := b.Admit(t.Context(), by(), Blob, layer); verdict(err) != "unavailable" {
			t.Errorf("%v", err)
		}
	}
	if got := b.registry.count(); got != 2 {
		t.Errorf("asked %d times, want at first and after 30 s", got)
	}
}

// A tag that the origin did not answer for itself proves nothing: only who had
// a right to that digest lately gets it.
func TestAStaleTag(t *testing.T) {
	const token = "Bearer token"
	for _, tt := range []struct {
		allow bool
		who   Asked
		want  string
	}{{true, by(token), "allowed"}, {false, by(token), "unavailable"}, {true, by("Bearer other"), "unavailable"}} {
		b := newBench(t, Config{Table: TableConfig{AllowRecent: tt.allow}}, onlyFor(token))
		if _, _, err := b.Resolve(t.Context(), by(token), "1"); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(2 * MaxTTL)
		b.registry.answer = func(Caller, Question) (Found, error) { return Found{Digest: index, Stale: time.Minute}, nil }
		found, _, err := b.Resolve(t.Context(), tt.who, "1")
		if got := verdict(err); got != tt.want || err == nil && (found.Stale != time.Minute || found.Digest != index) {
			t.Errorf("%s %+v (%v), want %s", got, found, err, tt.want)
		}
	}
}

// A registry that repeats what it was sent, and what becomes of it.
func TestARefusalShowsNoCredential(t *testing.T) {
	b := newBench(t, Config{}, func(who Caller, _ Question) (Found, error) {
		return Found{}, &DeniedError{Status: 403, Reason: "no right for " + who.Authorization.Reveal() + "\nlevel=ERROR"}
	})
	_, err := b.Admit(t.Context(), by("Bearer hunter2"), Manifest, index)
	if err == nil || strings.Contains(err.Error()+b.log.String(), "hunter2") || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v, log %s", err, b.log.String())
	}
}

// Many ask the same; the origin is asked once. When all have left, so is it.
func TestOneQuestionForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newBench(t, Config{}, nil)
		b.registry.answer = func(who Caller, q Question) (Found, error) {
			<-release
			return onlyFor("Bearer token")(who, q)
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if _, err := b.Admit(t.Context(), by("Bearer token"), Blob, layer); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if got := b.registry.count(); got != 1 {
			t.Errorf("asked %d times", got)
		}
	})
}

// waiting is an Origin that answers nothing until it is told to stop.
type waiting struct{ asked, stopped int }

func (w *waiting) Ask(ctx context.Context, _ Caller, _ Question) (Found, error) {
	w.asked++
	<-ctx.Done()
	w.stopped++
	return Found{}, ctx.Err()
}

func TestAQuestionEndsWithThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(waiting)
		g, err := NewGate(Config{Origin: w, MaxProofs: 1})
		if err != nil {
			t.Fatal(err)
		}
		admit := func(patience time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := g.Admit(ctx, by(), Blob, layer)
			return err
		}
		if err := admit(lateFrom / 2); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("gave up: %v", err)
		}
		synctest.Wait()
		if w.asked != 1 || w.stopped != 1 {
			t.Errorf("%d asked, %d stopped", w.asked, w.stopped)
		}
		// It was too short to tell. One that took longer goes on without them,
		// to its limit; whoever comes meanwhile need not wait as long again.
		began := time.Now()
		if err := admit(2 * lateFrom); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("gave up later: %v", err)
		}
		if err := admit(time.Hour); !errors.Is(err, ErrUnavailable) || time.Since(began) != 2*lateFrom {
			t.Errorf("an origin that hangs: %v after %v", err, time.Since(began))
		}
		time.Sleep(defaultProofTimeout)
		synctest.Wait()
		if w.asked != 2 || w.stopped != 2 {
			t.Errorf("%d asked, %d stopped", w.asked, w.stopped)
		}
	})
}
