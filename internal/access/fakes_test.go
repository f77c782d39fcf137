package access

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	private = Repo{"r.example", "team/app"}
	index   = piece.Sum([]byte("manifest"))
	layer   = piece.Sum([]byte("layer"))
	errDown = errors.New("connection refused")
)

// registry is an Origin that answers by a function, and remembers.
type registry struct {
	answer func(who Caller, q Question) (Found, error)

	mu    sync.Mutex // guards asked
	asked []Question
}

func (r *registry) Ask(ctx context.Context, who Caller, q Question) (Found, error) {
	r.mu.Lock()
	r.asked = append(r.asked, q)
	r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return Found{}, err
	}
	return r.answer(who, q)
}

func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.asked)
}

// onlyFor lets callers with one Authorization have everything, and challenges
// all others.
func onlyFor(authorization string) func(Caller, Question) (Found, error) {
	return func(who Caller, q Question) (Found, error) {
		if who.Authorization.Reveal() == authorization {
			return Found{Digest: index, Size: 8}, nil
		}
		return Found{}, &DeniedError{Status: 401, Reason: "who are you", Challenge: Challenge{
			Scheme: "Bearer", Realm: "https://r.example/token", Service: "s", Scope: "repository:any/placeholder:pull,push",
		}}
	}
}

// bench is a gate with a clock and a log of its own.
type bench struct {
	*Gate
	registry *registry
	now      time.Time
	log      bytes.Buffer
}

func newBench(t *testing.T, cfg Config, answer func(Caller, Question) (Found, error)) *bench {
	t.Helper()
	b := &bench{registry: &registry{answer: answer}, now: time.Unix(1e9, 0)}
	cfg.Origin, cfg.Now = b.registry, func() time.Time { return b.now }
	cfg.Log = slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if b.Gate, err = NewGate(cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

func always(m Mode) func(string) Mode { return func(string) Mode { return m } }

// by is a request for the private repository with these headers.
func by(authorization ...string) Asked {
	a := Asked{Repo: private}
	for _, h := range authorization {
		a.Authorization = append(a.Authorization, secret.New(h))
	}
	return a
}

// verdict says in a word how a request ended.
func verdict(err error) string {
	no, refused := errors.AsType[*RefusedError](err)
	switch {
	case err == nil:
		return "allowed"
	case refused && no.Challenge != "":
		return "challenged"
	case refused:
		return "refused"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	}
	return err.Error()
}
