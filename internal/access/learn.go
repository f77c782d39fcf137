package access

import (
	"net/http"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// What a Table is told: the origin's answers, and what manifests list.

// Learn takes the origin's yes to a question: q was found for as. For a tag,
// d is what it stands for; else q's own digest.
func (t *Table) Learn(now time.Time, as Subject, q Question, d piece.Digest) {
	t.down.drop(q.Repo.Host)
	if as == nobody {
		t.classes.put(q.Repo, class{public: true, at: now})
	}
	t.standing(standing{as, q.Repo}).put(d, now)
	t.refusals.drop(refused{as, q})
}

// standing is what a subject was told of a repository, to be added to.
func (t *Table) standing(key standing) *lru[piece.Digest, time.Time] {
	known, ok := t.standings.get(key)
	if !ok {
		known = newLRU[piece.Digest, time.Time](maxProven)
		t.standings.put(key, known)
	}
	return known
}

// LearnRefusal takes the origin's no. no's Challenge is one that a client may
// be sent.
func (t *Table) LearnRefusal(now time.Time, as Subject, q Question, no *RefusedError) {
	t.down.drop(q.Repo.Host)
	key := standing{as, q.Repo}
	if no.Status == http.StatusNotFound {
		if known, ok := t.standings.get(key); ok {
			known.drop(q.Digest)
		}
	} else {
		t.standings.drop(key)
	}
	subject := refused{as, q}
	if no.Status == http.StatusUnauthorized {
		// Not this content, but this credential is what it does not like.
		subject.question = Question{Repo: q.Repo}
	}
	t.refusals.put(subject, refusalAt{no, now})
	if as == nobody {
		t.classify(now, q.Repo, no)
	}
}

// classify takes what somebody without a credential was refused with.
func (t *Table) classify(now time.Time, repo Repo, no *RefusedError) {
	c, ok := t.classes.get(repo)
	public := ok && c.public && now.Sub(c.at) < t.cfg.TTL
	switch {
	case no.Status == http.StatusUnauthorized:
	case public && no.Status == http.StatusNotFound:
		return // in public there is nothing of that name
	case public:
		t.classes.drop(repo) // something has changed
		return
	case no.Challenge == "":
		return // a credential would not help
	}
	// What is hidden from some may look absent: whoever has a credential is
	// to bring it.
	private := *no
	if no.Status != http.StatusUnauthorized {
		private = RefusedError{Status: http.StatusUnauthorized, Challenge: no.Challenge, Reason: no.Reason}
	}
	t.classes.put(repo, class{at: now, no: &private})
}

// LearnDown takes that the origin could not answer; wait is how long it wants
// to be left alone, or 0.
func (t *Table) LearnDown(now time.Time, host string, wait time.Duration) {
	t.down.put(host, now.Add(min(max(wait, downFor), maxDownFor)))
}

// Link takes what a manifest of a repository lists. The manifest's bytes were
// checked against its digest, and what it only points to elsewhere, by URL,
// is not among the children.
func (t *Table) Link(repo Repo, parent piece.Digest, children []piece.Digest) {
	for _, d := range children[:min(len(children), maxChildren)] {
		key := child{repo, d}
		parents, _ := t.links.get(key)
		if d == parent || slices.Contains(parents, parent) {
			continue
		}
		parents = append([]piece.Digest{parent}, parents...)
		t.links.put(key, parents[:min(len(parents), maxParents)])
	}
}
