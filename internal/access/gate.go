package access

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// defaultProofTimeout is what a question may take that begins with a
	// handshake: a ping, a token, the HEAD, each over a far line.
	defaultProofTimeout = 5 * time.Second
	// defaultMaxProofs is how many questions are at origins at once. A
	// burst of forged credentials takes no more than this.
	defaultMaxProofs = 32
	// slowFrom is how long a question may be open before its registry counts
	// as down, until it answers after all. It is below the patience of those
	// who wait for it (2 s in the mirror), so that a pull waits once for a
	// registry that hangs, and not again with each of its requests.
	slowFrom = 1500 * time.Millisecond
	// maxSteps bounds the questions for one request. Four are the most that
	// make sense: a manifest and a blob, as the client and as nobody.
	maxSteps = 6
	keySize  = 32
)

// Config is what a Gate is made of. Origin must be set.
type Config struct {
	Origin Origin
	Table  TableConfig
	// Mode is how the clients of a registry prove their rights; nil is
	// Relay for all.
	Mode func(host string) Mode
	// Commons is what other nodes know of public content; nil for a node
	// that has nobody to ask.
	Commons Commons
	// ProofTimeout bounds one question; 0 is 5 s.
	ProofTimeout time.Duration
	// MaxProofs bounds the questions at once; 0 is 32. Others wait for one
	// of them to end.
	MaxProofs int
	Now       func() time.Time // nil is time.Now
	Log       *slog.Logger     // nil discards
}

// Gate decides who may have what. Methods may be called concurrently.
type Gate struct {
	cfg     Config
	key     []byte // of the HMACs; drawn anew by each process
	flights *flights
	stats   counters

	mu    sync.Mutex // guards table
	table *Table
}

// NewGate makes a gate.
func NewGate(cfg Config) (*Gate, error) {
	if cfg.Origin == nil {
		return nil, errors.New("access needs an origin to ask")
	}
	if cfg.Mode == nil {
		cfg.Mode = func(string) Mode { return Relay }
	}
	if cfg.ProofTimeout <= 0 {
		cfg.ProofTimeout = defaultProofTimeout
	}
	if cfg.MaxProofs <= 0 {
		cfg.MaxProofs = defaultMaxProofs
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Gate{cfg: cfg, key: make([]byte, keySize), flights: newFlights(cfg.MaxProofs), table: NewTable(cfg.Table)}
	_, _ = rand.Read(g.key) // never fails: crypto/rand ends the process instead
	return g, nil
}

// Asked is one request of a client for content of a repository.
type Asked struct {
	Repo Repo
	// Authorization are the headers of that name.
	Authorization []secret.Value
}

// Grant is a client's right to what it asked for. Reads at the origin that
// serve the client are made in the grant's name.
type Grant struct {
	Repo   Repo
	Caller Caller
}

// Resolve asks the origin what a tag stands for now, in the client's name:
// the answer proves the client's right to that manifest too. It fails with a
// *RefusedError that the client may be told, or with ErrUnavailable.
func (g *Gate) Resolve(ctx context.Context, a Asked, tag string) (Found, Grant, error) {
	return g.admit(ctx, a, Question{Repo: a.Repo, Kind: Tag, Tag: tag})
}

// Admit decides whether the client may have a manifest or a blob. It fails as
// Resolve does. Nothing that is held here or by peers is looked at.
func (g *Gate) Admit(ctx context.Context, a Asked, k Kind, d piece.Digest) (Grant, error) {
	_, grant, err := g.admit(ctx, a, Question{Repo: a.Repo, Kind: k, Digest: d})
	return grant, err
}

// Link takes what a manifest lists that was admitted in a repository and
// whose bytes are those of its digest. Content that the manifest has by URL
// is not to be among the children: registries do not check that they have it.
func (g *Gate) Link(repo Repo, parent piece.Digest, children []piece.Digest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.table.Link(repo, parent, children)
}

// admit takes the table's steps until one is the last.
func (g *Gate) admit(ctx context.Context, a Asked, q Question) (Found, Grant, error) {
	mode := g.cfg.Mode(q.Repo.Host)
	credential := credentialOf(mode, a.Authorization)
	req := Request{Question: q, Mode: mode, Who: SubjectOf(g.key, credential, q.Repo)}
	grant := func(s Subject) Grant {
		if s.Identity() == Client {
			return Grant{q.Repo, Caller{Client, credential}}
		}
		return Grant{q.Repo, Caller{Identity: s.Identity()}}
	}
	var why error
	stale := Found{Digest: q.Digest}
	asked := false // the others, while the origin is slow or down
	for range maxSteps {
		step := g.decide(req)
		switch step.Verdict {
		case Allow:
			g.stats.allowed.Add(1)
			return stale, grant(step.As), nil
		case Demand:
			g.stats.challenged.Add(1)
			return Found{}, Grant{}, step.Refusal
		case Refuse:
			g.stats.refused.Add(1)
			return Found{}, Grant{}, step.Refusal
		case Unavailable:
			if !asked && g.recalled(ctx, req) {
				asked = true
				continue
			}
			g.stats.unavailable.Add(1)
			return Found{}, Grant{}, unavailable(q, why)
		}
		found, err := g.askBeside(ctx, step.As, grant(step.As).Caller, step.Ask, req)
		switch {
		case err == nil && found.Stale > 0:
			// No proof of anything: only what is known of the digest counts.
			req.Question = Question{Repo: q.Repo, Kind: Manifest, Digest: found.Digest}
			req.Down, stale = true, found
		case err == nil && q.Kind == Tag:
			g.stats.allowed.Add(1)
			return found, grant(step.As), nil
		case ctx.Err() != nil:
			return Found{}, Grant{}, fmt.Errorf("ask the origin for %s: %w", q.Repo, context.Cause(ctx))
		case err != nil && !isNo(err):
			req.Down, why = true, err
		}
	}
	g.stats.unavailable.Add(1)
	return Found{}, Grant{}, unavailable(q, errors.New("its answers do not add up"))
}

func isNo(err error) bool {
	_, ok := errors.AsType[*RefusedError](err)
	return ok
}

func unavailable(q Question, why error) error {
	if why == nil {
		return fmt.Errorf("%s: %w", q.Repo, ErrUnavailable)
	}
	return fmt.Errorf("%s: %w: %w", q.Repo, ErrUnavailable, why)
}

func (g *Gate) decide(r Request) Step {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.table.Decide(g.cfg.Now(), r)
}

// ask puts one question to the origin, for all who wait for the answer, and
// has the table learn it. The caller must leave the flight, whose errors are a
// *RefusedError that has been learned, or mean that the origin could not be
// asked; so does ask's own.
func (g *Gate) ask(ctx context.Context, as Subject, who Caller, q Question) (*flight, error) {
	return g.flights.join(ctx, flightKey{as, q}, func(ctx context.Context) (Found, error) {
		limited, cancel := context.WithTimeout(ctx, g.cfg.ProofTimeout)
		defer cancel()
		g.stats.asked.Add(1)
		slow := time.AfterFunc(slowFrom, func() { g.learnDown(q, 0) })
		found, err := g.cfg.Origin.Ask(limited, who, q)
		slow.Stop()
		denial, denied := errors.AsType[*DeniedError](err)
		switch {
		case err == nil && q.Kind == Tag && found.Digest.IsZero():
			return Found{}, errors.New("the origin named no digest")
		case err == nil && found.Stale > 0:
			g.learnDown(q, 0)
			return found, nil
		case err == nil:
			if q.Kind != Tag {
				found.Digest = q.Digest
			}
			g.learn(func(t *Table) { t.Learn(g.cfg.Now(), as, q, found.Digest) })
			g.vouch(as, q, found.Digest)
			return found, nil
		case denied && isRefusal(denial.Status):
			no := g.presentable(q, who, denial)
			g.learn(func(t *Table) { t.LearnRefusal(g.cfg.Now(), as, q, no) })
			g.logRefusal(ctx, as, q, no)
			return Found{}, no
		case ctx.Err() != nil:
			return Found{}, err // nobody waited long enough to tell
		}
		g.stats.failed.Add(1)
		var wait time.Duration
		if busy, ok := errors.AsType[*BusyError](err); ok {
			wait = busy.RetryAfter
		}
		g.learnDown(q, wait)
		return Found{}, err
	})
}

func (g *Gate) learnDown(q Question, wait time.Duration) {
	g.learn(func(t *Table) { t.LearnDown(g.cfg.Now(), q.Repo.Host, wait) })
}

func (g *Gate) learn(f func(*Table)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g.table)
}

// presentable makes a refusal of what a registry said, fit to be kept and told:
// it repeats no credential, and a challenge is one that the policy allows.
func (g *Gate) presentable(q Question, who Caller, d *DeniedError) *RefusedError {
	no := &RefusedError{Status: d.Status, Reason: clean(d.Reason, who.Authorization)}
	if len(d.Body) <= maxBody {
		no.Body = d.Body
	}
	if who.Identity == Node || d.Challenge.Scheme == "" && d.Status != http.StatusUnauthorized {
		return no // what the node must show is not its clients' business
	}
	header, err := relayed(q.Repo, g.cfg.Mode(q.Repo.Host), d.Challenge)
	if err != nil {
		no.Reason += "; " + err.Error()
	}
	no.Challenge = header
	return no
}

// logRefusal says why, once an answer of the origin: what is kept of it is not
// logged again. A challenge to nobody in particular is everyday life.
func (g *Gate) logRefusal(ctx context.Context, as Subject, q Question, no *RefusedError) {
	level := slog.LevelInfo
	if as.Identity() == Anonymous && no.Challenge != "" || no.Status == http.StatusNotFound {
		level = slog.LevelDebug
	}
	g.cfg.Log.LogAttrs(ctx, level, "the registry refuses",
		slog.String("repository", q.Repo.String()), slog.String("reference", q.Reference()),
		slog.Int("status", no.Status), slog.String("reason", no.Reason))
}
