package access

import (
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// MaxTTL bounds how long a decision may stand without asking again.
	MaxTTL = 5 * time.Minute
	// MaxRefusalTTL bounds how long a refusal may: a right that was just
	// given should be seen soon.
	MaxRefusalTTL = 10 * time.Second
	// DefaultRecent is how old a decision may be while the origin is down.
	DefaultRecent = time.Hour
	// MaxRecent bounds what an operator may choose for that.
	MaxRecent = 24 * time.Hour
	// downFor is how long an origin that could not be asked is left alone.
	// Long enough for a pull to get on with what is known; tags are asked
	// for all the same.
	downFor = 5 * time.Second
	// maxDownFor bounds how long a registry may send us away.
	maxDownFor = time.Minute

	// A node runs a few hundred images at most.
	maxClasses   = 4096
	maxStandings = 2048
	// maxProven bounds the digests of one standing that were proved by
	// themselves. Manifests need it, and layers none.
	maxProven = 256
	// maxRefusals bounds the refusals, 4 KiB each at most. They have a
	// table of their own, so that made-up credentials push out no right.
	maxRefusals = 1024
	// maxLinks is about a thousand images' layers, at 300 bytes a link.
	maxLinks = 16 << 10
	// maxChildren bounds what is believed of one manifest. Images have at
	// most 127 layers.
	maxChildren = 512
	// maxParents bounds in how many manifests of one repository a digest
	// is known to be listed. Base layers are in many; the last few do.
	maxParents = 4
	// maxDepth is how deep a digest may lie: index, manifest, blob, and an
	// index of indexes above.
	maxDepth = 3
	// maxRecalls bounds the questions to the cluster for one request.
	maxRecalls = 8
	maxHosts   = 256
)

// TableConfig is what a Table needs to know. Zero values mean defaults, and
// what is above a bound is cut to it.
type TableConfig struct {
	// TTL is how long a proof stands; 0 and more than MaxTTL are MaxTTL.
	TTL time.Duration
	// RefusalTTL is how long a refusal stands, likewise.
	RefusalTTL time.Duration
	// Recent is how old a proof may be while the origin is down; 0 is
	// DefaultRecent. For public repositories it always counts.
	Recent time.Duration
	// AllowRecent has it count for private ones too.
	AllowRecent bool
}

func (c TableConfig) withDefaults() TableConfig {
	cut := func(d *time.Duration, byDefault, most time.Duration) {
		if *d <= 0 {
			*d = byDefault
		}
		*d = min(*d, most)
	}
	cut(&c.TTL, MaxTTL, MaxTTL)
	cut(&c.RefusalTTL, MaxRefusalTTL, MaxRefusalTTL)
	cut(&c.Recent, DefaultRecent, MaxRecent)
	return c
}

// Table is what is known of rights, and decides by it. It is not safe for
// concurrent use. Times that it is given never go backwards.
type Table struct {
	cfg TableConfig
	// classes are the repositories whose kind is known.
	classes *lru[Repo, class]
	// standings are when a subject was told by the origin that there is
	// something for it, by digest. A standing goes as one: what voids one
	// right of a subject in a repository voids them all.
	standings *lru[standing, *lru[piece.Digest, time.Time]]
	refusals  *lru[refused, refusalAt]
	// links are the manifests of a repository that list a digest. They are
	// facts, not rights: a link counts for who has a right to its parent.
	links *lru[child, []piece.Digest]
	// down is until when a host is not asked.
	down *lru[string, time.Time]
}

// class is what a repository is to somebody without a credential.
type class struct {
	public bool
	at     time.Time
	no     *RefusedError // what it is that they are told, if it is not public
}

type standing struct {
	subject Subject
	repo    Repo
}

// refused is what was refused to whom. A question without a kind stands for
// all of its repository.
type refused struct {
	subject  Subject
	question Question
}

type refusalAt struct {
	no *RefusedError
	at time.Time
}

type child struct {
	repo   Repo
	digest piece.Digest
}

// NewTable makes a table that knows nothing.
func NewTable(cfg TableConfig) *Table {
	return &Table{
		cfg:       cfg.withDefaults(),
		classes:   newLRU[Repo, class](maxClasses),
		standings: newLRU[standing, *lru[piece.Digest, time.Time]](maxStandings),
		refusals:  newLRU[refused, refusalAt](maxRefusals),
		links:     newLRU[child, []piece.Digest](maxLinks),
		down:      newLRU[string, time.Time](maxHosts),
	}
}

// Request is what a client wants.
type Request struct {
	Question
	Mode Mode
	// Who is the client: anonymous, or a credential for this repository.
	Who Subject
	// Down says that the origin has just failed to answer for this request.
	Down bool
}

// Verdict is what is to be done next.
type Verdict uint8

// The verdicts.
const (
	Ask         Verdict = iota // the origin; Learn its answer, Decide again
	Allow                      //
	Demand                     // the client must bring a credential
	Refuse                     // the origin said no
	Unavailable                // the origin would have to be asked, and is down
)

// Step is a verdict and what it needs.
type Step struct {
	Verdict Verdict
	As      Subject       // with Ask and Allow: in whose name
	Ask     Question      // with Ask
	Refusal *RefusedError // with Demand and Refuse
}

// Decide says what is to be done about a request now. A tag is always asked
// for: the answer to Ask is the end of such a request if it is no refusal.
func (t *Table) Decide(now time.Time, r Request) Step {
	if until, ok := t.down.get(r.Repo.Host); ok && r.Kind != Tag && now.Before(until) {
		r.Down = true
	}
	switch {
	case r.Mode == Open && r.Kind != Tag:
		return Step{Verdict: Allow, As: node}
	case r.Mode == Open || r.Mode == ByNode:
		return t.judge(now, r, node)
	}
	c, known := t.class(now, r)
	switch {
	case known && c.public:
		return t.judge(now, r, nobody)
	case known && r.Who == nobody:
		return Step{Verdict: Demand, Refusal: c.no}
	case known:
		return t.judge(now, r, r.Who)
	}
	// With a credential the question itself may tell; the probe comes first
	// only for those who have none.
	if r.Who == nobody {
		return t.judge(now, r, nobody)
	}
	s := t.judge(now, r, r.Who)
	if s.Verdict != Refuse {
		return s
	}
	if probe := t.judge(now, r, nobody); probe.Verdict == Ask || probe.Verdict == Allow {
		return probe
	}
	return s
}

// class is what is known of a repository now.
func (t *Table) class(now time.Time, r Request) (class, bool) {
	c, ok := t.classes.get(r.Repo)
	limit := t.cfg.TTL
	if r.Down {
		limit = max(limit, t.cfg.Recent)
	}
	return c, ok && now.Sub(c.at) < limit
}

// judge decides for one subject.
func (t *Table) judge(now time.Time, r Request, s Subject) Step {
	if no := t.refused(now, s, r.Question); no != nil {
		return Step{Verdict: Refuse, Refusal: no}
	}
	if r.Kind != Tag && t.proven(r, s, func(at time.Time) bool { return now.Sub(at) < t.limit(r, s) }) {
		return Step{Verdict: Allow, As: s}
	}
	if r.Down {
		return Step{Verdict: Unavailable}
	}
	return Step{Verdict: Ask, As: s, Ask: t.question(now, r, s)}
}

// limit is how old a proof may be.
func (t *Table) limit(r Request, s Subject) time.Duration {
	if r.Down && (t.cfg.AllowRecent || s == nobody) {
		return max(t.cfg.TTL, t.cfg.Recent)
	}
	return t.cfg.TTL
}

// refused is a refusal that still stands, of the question or of everything in
// its repository.
func (t *Table) refused(now time.Time, s Subject, q Question) *RefusedError {
	for _, q := range []Question{q, {Repo: q.Repo}} {
		if r, ok := t.refusals.get(refused{s, q}); ok && now.Sub(r.at) < t.cfg.RefusalTTL {
			return r.no
		}
	}
	return nil
}

// proven reports whether the subject was told that the digest is there for
// it, or a manifest that leads to the digest, at a time that will do.
func (t *Table) proven(r Request, s Subject, fresh func(time.Time) bool) bool {
	known, ok := t.standings.get(standing{s, r.Repo})
	if !ok {
		return false
	}
	var leads func(d piece.Digest, depth int) bool
	leads = func(d piece.Digest, depth int) bool {
		if at, ok := known.get(d); ok && fresh(at) {
			return true
		}
		if depth == 0 {
			return false
		}
		parents, _ := t.links.get(child{r.Repo, d})
		return slices.ContainsFunc(parents, func(p piece.Digest) bool { return leads(p, depth-1) })
	}
	return leads(r.Digest, maxDepth)
}

// question is what to ask the origin. For a blob that a manifest of the
// repository lists it is that manifest: its other blobs are proved with it,
// and a gate that the origin holds before manifests is seen.
func (t *Table) question(now time.Time, r Request, s Subject) Question {
	if r.Kind != Blob {
		return r.Question
	}
	parents, _ := t.links.get(child{r.Repo, r.Digest})
	for _, p := range parents {
		q := Question{Repo: r.Repo, Kind: Manifest, Digest: p}
		if t.refused(now, s, q) == nil {
			return q
		}
	}
	return r.Question
}
