package access

import (
	"context"
	"errors"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// recallFrom is how long a registry may take before the cluster is asked
	// too. It is above lateFrom, so that the question is not ended by it, and
	// leaves time below the mirror's patience of 2 s.
	recallFrom = 1200 * time.Millisecond
	// recallWait is how long the cluster may take to say what it knows. A
	// pull whose registry is down waits for it, and has nothing else to wait
	// for: a busy scheduler is no reason to fail it.
	recallWait = 1500 * time.Millisecond
)

// Commons is what the nodes of a cluster tell each other of public content.
// The daemon has the real one.
//
// A node takes the others' word only while the registry cannot be asked, only
// for repositories that it does not know to be private, and never for a blob
// by itself: that must be listed in a manifest that was vouched for.
type Commons interface {
	// Vouch tells the others that the registry has just shown a manifest to
	// somebody without a credential. It does not block.
	Vouch(Repo, piece.Digest)
	// Recall says how long ago any node was last shown it; false if none
	// is known to have been, or nobody can be asked.
	Recall(context.Context, Repo, piece.Digest) (time.Duration, bool)
}

// vouch tells the others of the origin's answer, if it is their business.
func (g *Gate) vouch(as Subject, q Question, found piece.Digest) {
	if g.cfg.Commons != nil && as == nobody && q.Kind != Blob {
		g.cfg.Commons.Vouch(q.Repo, found)
	}
}

// errSlow is why the others' word is taken before the origin's.
var errSlow = errors.New("the registry is slow to answer")

// askBeside asks the origin, and if that takes long the cluster too.
func (g *Gate) askBeside(ctx context.Context, as Subject, who Caller, q Question, r Request) (Found, error) {
	fl, err := g.ask(ctx, as, who, q)
	if err != nil {
		return Found{}, err
	}
	defer g.flights.leave(fl)
	if g.cfg.Commons == nil || r.Kind == Tag {
		return fl.wait(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, recallFrom)
	defer cancel()
	found, err := fl.wait(limited)
	switch {
	case err == nil || limited.Err() == nil || ctx.Err() != nil:
		return found, err
	case g.recalled(ctx, r):
		return Found{}, errSlow
	}
	return fl.wait(ctx)
}

// recalled reports whether the cluster knows what the table does not: that
// the content was public a short time ago. The table has then learned it.
func (g *Gate) recalled(ctx context.Context, r Request) bool {
	if g.cfg.Commons == nil || r.Kind == Tag || r.Mode == Open || r.Mode == ByNode {
		return false
	}
	g.mu.Lock()
	candidates := g.table.Manifests(r.Question)
	g.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, recallWait)
	defer cancel()
	for _, d := range candidates {
		age, ok := g.cfg.Commons.Recall(ctx, r.Repo, d)
		if !ok {
			continue
		}
		g.stats.recalled.Add(1)
		now := g.cfg.Now()
		g.mu.Lock()
		learned := g.table.LearnVouched(now, now.Add(-max(age, 0)), r.Repo, d)
		g.mu.Unlock()
		if learned {
			return true
		}
	}
	return false
}

// Manifests are those by which the question's content could be had: itself, if
// it is one, and those that are known to lead to it, the nearest first.
func (t *Table) Manifests(q Question) []piece.Digest {
	var all []piece.Digest
	if q.Kind == Manifest {
		all = append(all, q.Digest)
	}
	level := []piece.Digest{q.Digest}
	for range maxDepth {
		var above []piece.Digest
		for _, d := range level {
			parents, _ := t.links.get(child{q.Repo, d})
			above = append(above, parents...)
		}
		all, level = append(all, above...), above[:min(len(above), maxParents)]
	}
	return all[:min(len(all), maxRecalls)]
}

// LearnVouched takes another node's word that the origin showed a manifest to
// nobody in particular at a time. It reports whether it may be relied on while
// the origin is down.
func (t *Table) LearnVouched(now, at time.Time, repo Repo, d piece.Digest) bool {
	if now.Sub(at) >= max(t.cfg.TTL, t.cfg.Recent) {
		return false
	}
	if c, ok := t.classes.get(repo); ok && !c.public && c.at.After(at) {
		return false // it was public, and is no more
	} else if !ok || c.at.Before(at) {
		t.classes.put(repo, class{public: true, at: at})
	}
	known := t.standing(standing{nobody, repo})
	if own, ok := known.get(d); !ok || own.Before(at) {
		known.put(d, at)
	}
	return true
}
