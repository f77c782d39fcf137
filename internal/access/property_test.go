package access

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

// image is an index of two manifests of two blobs each.
type image struct {
	index     piece.Digest
	manifests []piece.Digest
	blobs     [][]piece.Digest
}

func newImage(name string) image {
	d := func(part string) piece.Digest { return piece.Sum([]byte(name + part)) }
	return image{d("i"), []piece.Digest{d("m0"), d("m1")}, [][]piece.Digest{{d("b0"), d("b1")}, {d("b2"), d("b3")}}}
}

func (i image) children(d piece.Digest) []piece.Digest {
	if d == i.index {
		return i.manifests
	}
	if n := slices.Index(i.manifests, d); n >= 0 {
		return i.blobs[n]
	}
	return nil
}

// upstream is a registry as the property has it: who may read which
// repository changes with time, and so does what is in them.
type upstream struct {
	now     time.Time
	images  map[Repo]image
	rights  map[standing]bool
	gated   map[Repo]bool // manifests are refused with 412
	emptied map[Repo]bool
	down    bool
	no      int // the status for who has no right
	// last is when somebody would last have been given something, and
	// steady since when without a break.
	last, steady map[refused]time.Time
	upSince      time.Time
}

func (u *upstream) answer(who Subject, q Question) int {
	im := u.images[q.Repo]
	d := q.Digest
	if q.Kind == Tag {
		d = im.index
	}
	isManifest := d == im.index || slices.Contains(im.manifests, d)
	isBlob := slices.Contains(slices.Concat(im.blobs...), d)
	switch {
	case !u.rights[standing{who, q.Repo}]:
		return u.no
	case u.emptied[q.Repo], q.Kind == Blob && !isBlob, q.Kind != Blob && !isManifest:
		return http.StatusNotFound
	case q.Kind != Blob && u.gated[q.Repo]:
		return http.StatusPreconditionFailed
	}
	return http.StatusOK
}

// all are the questions that there are about digests.
func (u *upstream) all() []Question {
	var all []Question
	for repo := range u.images {
		for _, im := range u.images { // those of other repositories, too
			for _, d := range append([]piece.Digest{im.index}, im.manifests...) {
				all = append(all, Question{Repo: repo, Kind: Manifest, Digest: d})
			}
			for _, d := range slices.Concat(im.blobs...) {
				all = append(all, Question{Repo: repo, Kind: Blob, Digest: d})
			}
		}
	}
	return all
}

// note remembers what would be answered now.
func (u *upstream) note(subjects []Subject, questions []Question) {
	for _, q := range questions {
		for _, s := range subjects {
			key := refused{s, q}
			if u.answer(s, q) != http.StatusOK {
				delete(u.steady, key)
				continue
			}
			u.last[key] = u.now
			if _, ok := u.steady[key]; !ok {
				u.steady[key] = u.now
			}
		}
	}
}

// client asks as a Gate would, and returns the last step.
func (u *upstream) client(t *rapid.T, table *Table, r Request) Step {
	for range maxSteps {
		step := table.Decide(u.now, r)
		if step.Verdict != Ask {
			return step
		}
		if step.As != nobody && step.As != r.Who {
			t.Fatalf("asks as %v for %v", step.As, r.Who)
		}
		if u.down {
			table.LearnDown(u.now, r.Repo.Host, 0)
			r.Down = true
			continue
		}
		status := u.answer(step.As, step.Ask)
		if status != http.StatusOK {
			no := &RefusedError{Status: status}
			if status == http.StatusUnauthorized || status == http.StatusForbidden {
				no.Challenge = "Bearer"
			}
			table.LearnRefusal(u.now, step.As, step.Ask, no)
			continue
		}
		d := step.Ask.Digest
		if step.Ask.Kind == Tag {
			d = u.images[step.Ask.Repo].index
		}
		table.Learn(u.now, step.As, step.Ask, d)
		if r.Kind == Tag {
			return Step{Verdict: Allow, As: step.As}
		}
	}
	t.Fatalf("no end of questions about %v", r.Question)
	return Step{}
}

// Whatever happens, nobody is given what the origin would not have given them
// within the last minutes; and who has had a right for some time, is.
func TestNobodyIsGivenWhatTheOriginRefuses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := TableConfig{AllowRecent: rapid.Bool().Draw(t, "allow recent")}
		table := NewTable(cfg)
		cfg = cfg.withDefaults()
		pub, pub2, a, b := Repo{"r", "pub"}, Repo{"r", "pub2"}, Repo{"r", "a"}, Repo{"r", "b"}
		u := &upstream{
			now:    time.Unix(1e9, 0),
			images: map[Repo]image{pub: newImage("pub"), pub2: newImage("pub2"), a: newImage("a"), b: newImage("b")},
			rights: make(map[standing]bool), gated: make(map[Repo]bool), emptied: make(map[Repo]bool),
			last: make(map[refused]time.Time), steady: make(map[refused]time.Time), no: http.StatusUnauthorized,
		}
		u.upSince = u.now
		repos := []Repo{pub, pub2, a, b}
		key := []byte("key")
		credentials := []secret.Value{{}, secret.New("alice"), secret.New("bob"), secret.New("wrong")}
		var subjects []Subject
		for _, repo := range repos {
			for i, c := range credentials {
				s := SubjectOf(key, c, repo)
				subjects = append(subjects, s)
				u.rights[standing{s, repo}] = (repo == pub || repo == pub2) && i < 3 || repo == a && i == 1 || repo == b && i == 2
			}
		}
		questions := u.all()
		drawRepo := rapid.SampledFrom(repos)
		begin := func(name string) Repo { u.note(subjects, questions); return drawRepo.Draw(t, name) }
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				u.note(subjects, questions)
				u.now = u.now.Add(rapid.SampledFrom([]time.Duration{
					time.Second, 6 * time.Second, 11 * time.Second, 2 * time.Minute, MaxTTL, 40 * time.Minute, 2 * time.Hour,
				}).Draw(t, "for"))
			},
			"a right changes": func(t *rapid.T) {
				repo := begin("of")
				key := standing{SubjectOf(key, rapid.SampledFrom(credentials).Draw(t, "whose"), repo), repo}
				u.rights[key] = !u.rights[key]
			},
			"the gate": func(*rapid.T) { r := begin("before"); u.gated[r] = !u.gated[r] },
			"emptied":  func(*rapid.T) { r := begin("what"); u.emptied[r] = !u.emptied[r] },
			"the way of refusing": func(t *rapid.T) {
				u.no = rapid.SampledFrom([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}).Draw(t, "status")
			},
			"down": func(*rapid.T) { u.down, u.upSince = !u.down, u.now },
			"a tag": func(t *rapid.T) {
				repo := begin("of")
				who := SubjectOf(key, rapid.SampledFrom(credentials).Draw(t, "who"), repo)
				step := u.client(t, table, Request{Question: Question{Repo: repo, Kind: Tag, Tag: "1"}, Who: who})
				if step.Verdict == Allow && (u.down || u.answer(step.As, Question{Repo: repo, Kind: Tag}) != http.StatusOK) {
					t.Fatal("a tag was resolved against the origin's word")
				}
			},
			"a digest": func(t *rapid.T) {
				u.note(subjects, questions)
				q := rapid.SampledFrom(questions).Draw(t, "which")
				who := SubjectOf(key, rapid.SampledFrom(credentials).Draw(t, "who"), q.Repo)
				step := u.client(t, table, Request{Question: q, Who: who})
				u.check(t, cfg, who, q, step)
				if step.Verdict == Allow && q.Kind == Manifest {
					table.Link(q.Repo, q.Digest, u.images[q.Repo].children(q.Digest))
				}
			},
		})
	})
}

func (u *upstream) check(t *rapid.T, cfg TableConfig, who Subject, q Question, step Step) {
	mine, my := u.last[refused{who, q}]
	all, public := u.last[refused{nobody, q}]
	limit := cfg.TTL
	recent := u.down || u.now.Sub(u.upSince) < downFor
	ok := my && u.now.Sub(mine) <= limit || public && u.now.Sub(all) <= limit
	if recent {
		ok = ok || public && u.now.Sub(all) <= cfg.Recent || my && cfg.AllowRecent && u.now.Sub(mine) <= cfg.Recent
	}
	if step.Verdict == Allow && !ok {
		t.Fatalf("%v is given %v, last possible %v ago, or %v for all", who, q, u.now.Sub(mine), u.now.Sub(all))
	}
	since, steady := u.steady[refused{who, q}]
	if steady && u.now.Sub(since) > cfg.TTL && !recent && step.Verdict != Allow && who != nobody {
		t.Fatalf("%v is refused %v with verdict %d %v, a right for %v", who, q, step.Verdict, step.Refusal, u.now.Sub(since))
	}
}
