package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/p2pd/p2pd/internal/access"
	"github.com/p2pd/p2pd/internal/metrics"
	"github.com/p2pd/p2pd/internal/mirror"
	"github.com/p2pd/p2pd/internal/origin"
	"github.com/p2pd/p2pd/internal/tracing"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// gate is the decision who may have what, as the mirror sees it, together
// with the origin that content is read from in the name of whoever may.
type gate struct {
	o      *origin.Origin
	g      *access.Gate
	tracer *tracing.Tracer // nil: nobody traces
}

// newGate puts the gate before an origin.
func newGate(c NodeConfig, o *origin.Origin, others access.Commons, tracer *tracing.Tracer, log *slog.Logger) (gate, error) {
	stale := make(map[string]bool) // registries, or suffixes, whose tags may be repeated
	for _, r := range c.Registries {
		stale[origin.CanonicalHost(r.Host)] = r.ServeStale > 0
	}
	for _, r := range c.Registries {
		if m := c.Access.mode(r.Host); r.Credentials != (CredentialsConfig{}) && m != access.ByNode && m != access.Open {
			log.Warn("the node's credentials for a registry are used only where access.modes says node or open", "registry", r.Host, "mode", m)
		}
	}
	g, err := access.NewGate(access.Config{
		Origin: asker{o, stale}, Commons: others, Mode: c.Access.mode, Log: log,
		Table: access.TableConfig{AllowRecent: c.Access.OnOriginDown == "allowRecent", Recent: time.Duration(c.Access.Recent)},
	})
	return gate{o, g, tracer}, err
}

// Resolve implements mirror.Access.
func (g gate) Resolve(ctx context.Context, a mirror.Asked, tag string) (mirror.Resolved, error) {
	asked, err := g.asked(a)
	if err != nil {
		return mirror.Resolved{}, err
	}
	found, may, err := g.g.Resolve(ctx, asked, strings.Clone(tag))
	if err != nil {
		return mirror.Resolved{}, told(err)
	}
	d := mirror.Descriptor{Digest: found.Digest, Size: found.Size, MediaType: found.MediaType}
	return mirror.Resolved{Descriptor: d, Grant: g.granted(may), Stale: found.Stale}, nil
}

// Admit implements mirror.Access.
func (g gate) Admit(ctx context.Context, a mirror.Asked, k mirror.Kind, d piece.Digest) (mirror.Grant, error) {
	asked, err := g.asked(a)
	if err != nil {
		return nil, err
	}
	kind := access.Blob
	if k == mirror.Manifest {
		kind = access.Manifest
	}
	may, err := g.g.Admit(ctx, asked, kind, d)
	if err != nil {
		return nil, told(err)
	}
	return g.granted(may), nil
}

// Link implements mirror.Access.
func (g gate) Link(host, repo string, manifest piece.Digest, children []piece.Digest) {
	g.g.Link(repoOf(host, repo), manifest, children)
}

// asked is a question to the gate, of a registry that the operator allows.
func (g gate) asked(a mirror.Asked) (access.Asked, error) {
	if _, err := g.o.Blob(a.Host, a.Repo, piece.Digest{}); err != nil { // does no I/O
		return access.Asked{}, known(err)
	}
	return access.Asked{Repo: repoOf(a.Host, a.Repo), Authorization: a.Authorization}, nil
}

func repoOf(host, repo string) access.Repo {
	// Copies: a substring of a request's path would keep all of it alive.
	return access.Repo{Host: strings.Clone(origin.CanonicalHost(host)), Name: strings.Clone(repo)}
}

// told is a decision in the mirror's words.
func told(err error) error {
	if no, ok := errors.AsType[*access.RefusedError](err); ok {
		return &mirror.RefusedError{Status: no.Status, Challenge: no.Challenge, Body: no.Body, Reason: no.Reason}
	}
	return known(err)
}

func (g gate) granted(may access.Grant) mirror.Grant {
	return granted{g, viewOf(g.o, may.Caller), may.Repo}
}

// granted reads at the origin in the name of whoever has the right.
type granted struct {
	gate gate
	v    origin.View
	repo access.Repo
}

func (g granted) Blob(d piece.Digest) (peer.Source, error) {
	s, err := g.v.Blob(g.repo.Host, g.repo.Name, d)
	return g.gate.traced(misreading(s), d, known(err))
}

func (g granted) Manifest(d piece.Digest) (peer.Source, error) {
	s, err := g.v.Manifest(g.repo.Host, g.repo.Name, d)
	return g.gate.traced(misreading(s), d, known(err))
}

// metrics count decisions. None of them says whose, or about what.
func (g gate) metrics() []metrics.Metric {
	s := g.g.Stats()
	return []metrics.Metric{
		{Name: "p2pd_auth_decisions_total", Help: "Requests for content, by what was decided of the client's right.", Samples: []metrics.Sample{
			metrics.By("result", "allowed", s.Allowed), metrics.By("result", "challenged", s.Challenged),
			metrics.By("result", "refused", s.Refused), metrics.By("result", "unavailable", s.Unavailable),
		}},
		metrics.Counter("p2pd_auth_questions_total", "Questions to registries about rights.", s.Asked),
		metrics.Counter("p2pd_auth_unanswered_total", "Of them, those that were not answered.", s.Failed),
		metrics.Counter("p2pd_auth_recalled_total", "Answers of other nodes, while a registry could not be asked, that it had shown something to anybody.", s.Recalled),
	}
}

func viewOf(o *origin.Origin, who access.Caller) origin.View {
	switch who.Identity {
	case access.Client:
		return o.As(who.Authorization)
	case access.Node:
		return o.Node()
	default:
		return o.Anonymous()
	}
}

// asker is the origin as the gate sees it.
type asker struct {
	o     *origin.Origin
	stale map[string]bool
}

// Ask implements access.Origin.
func (a asker) Ask(ctx context.Context, who access.Caller, q access.Question) (access.Found, error) {
	v := viewOf(a.o, who)
	if q.Kind == access.Tag && a.mayBeStale(q.Repo.Host) {
		// A refusal tells more when it is asked for in the other way.
		if found, err := resolve(ctx, v, q); err == nil || !isRefusal(err) {
			return found, err
		}
	}
	var said origin.Answer
	var err error
	if q.Kind == access.Blob {
		said, err = v.HeadBlob(ctx, q.Repo.Host, q.Repo.Name, q.Digest)
	} else {
		said, err = v.HeadManifest(ctx, q.Repo.Host, q.Repo.Name, q.Reference())
	}
	switch {
	case err != nil:
		return access.Found{}, err
	case !said.Readable():
		return access.Found{}, denial(said)
	case q.Kind == access.Tag && said.Descriptor.Digest.IsZero():
		return resolve(ctx, v, q) // by reading the manifest
	}
	return foundOf(said.Descriptor), nil
}

func resolve(ctx context.Context, v origin.View, q access.Question) (access.Found, error) {
	d, err := v.Resolve(ctx, q.Repo.Host, q.Repo.Name, q.Tag)
	return foundOf(d), err
}

func foundOf(d origin.Descriptor) access.Found {
	return access.Found{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType, Stale: d.Stale}
}

func isRefusal(err error) bool {
	no, ok := errors.AsType[*peer.OriginError](err)
	return ok && no.Status >= 400 && no.Status < 500 && no.Status != http.StatusTooManyRequests
}

// mayBeStale reports whether a registry's tags may be repeated while it is
// down.
func (a asker) mayBeStale(host string) bool {
	if yes, listed := a.stale[host]; listed {
		return yes
	}
	for pattern, yes := range a.stale {
		if suffix, ok := strings.CutPrefix(pattern, "*"); ok && yes && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// denial is what a registry said that is no yes.
func denial(a origin.Answer) error {
	reason := reasonIn(a.Body)
	if reason == "" {
		reason = http.StatusText(a.Status)
	}
	if a.Unfit != nil {
		reason += "; " + a.Unfit.Error()
	}
	if a.Status >= http.StatusInternalServerError || a.Status == http.StatusTooManyRequests {
		return &access.BusyError{RetryAfter: a.RetryAfter, Err: fmt.Errorf("the registry answers %d: %s", a.Status, reason)}
	}
	return &access.DeniedError{Status: a.Status, Challenge: access.Challenge(a.Challenge), Body: a.Body, Reason: reason}
}

// reasonIn is the first error of an OCI error body.
func reasonIn(body []byte) string {
	var oci struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &oci) != nil || len(oci.Errors) == 0 {
		return ""
	}
	return oci.Errors[0].Code + ": " + oci.Errors[0].Message
}
