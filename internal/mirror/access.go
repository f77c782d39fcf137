package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Error codes of the distribution specification for what a registry refuses.
const (
	codeUnauthorized = "UNAUTHORIZED"
	codeDenied       = "DENIED"
)

// admit decides whether the client may have the content that it names by
// digest, before anything is looked up: whether it is here must make no
// difference to those who may not have it. For a tag, resolve does.
func (m *Mirror) admit(x *exchange) error {
	if x.target.kind == Tag {
		return nil
	}
	ctx, cancel := x.promptly(nil)
	defer cancel()
	defer x.span.Step("access")()
	var err error
	x.grant, err = m.cfg.Access.Admit(ctx, x.asked(), x.target.kind, x.target.digest)
	if err != nil {
		return fmt.Errorf("%s %s of %s/%s: %w", x.target.kind, x.target.digest, x.host, x.target.name, explain(ctx, err))
	}
	return nil
}

// resolve asks the origin what the tag stands for, in the client's name.
func (m *Mirror) resolve(ctx context.Context, x *exchange) (Descriptor, error) {
	defer x.span.Step("resolve")()
	r, err := m.cfg.Access.Resolve(ctx, x.asked(), x.target.tag)
	if err != nil {
		return Descriptor{}, err
	}
	if r.Stale > 0 {
		// RFC 5861 §4 and RFC 7234 §5.5.1: for people who look.
		x.w.Header().Set("Warning", `110 p2pd "Response is Stale"`)
		x.w.Header().Set("Age", fmt.Sprint(int64(r.Stale/time.Second)))
	}
	x.grant = r.Grant
	return r.Descriptor, nil
}

// asked is who asks for what repository.
func (x *exchange) asked() Asked {
	a := Asked{Host: x.host, Repo: x.target.name}
	for _, h := range x.r.Header.Values("Authorization") {
		a.Authorization = append(a.Authorization, secret.New(h))
	}
	return a
}

// passOn answers with the origin's refusal. What concerns manifests is told as
// the origin told it. A blob that is refused looks like one that is absent;
// but a client that has yet to prove itself is asked to, whatever there is.
func (x *exchange) passOn(no *RefusedError, err error) {
	f := &failure{status: no.Status, message: no.Error()}
	body := no.Body
	switch {
	case no.Status == http.StatusUnauthorized && no.Challenge != "":
		f.code = codeUnauthorized
		x.w.Header().Set("WWW-Authenticate", no.Challenge)
	case x.target.kind == Blob:
		f.status, f.code, body = http.StatusNotFound, codeBlobUnknown, nil
		f.message = fmt.Sprintf("there is no blob %s in %s/%s for this client", x.target.digest, x.host, x.target.name)
	case no.Status == http.StatusUnauthorized:
		f.code = codeUnauthorized
	case no.Status == http.StatusForbidden || no.Status == http.StatusPreconditionFailed:
		f.code = codeDenied
	default: // containerd has ideas of its own about some others
		f.status, f.code = http.StatusNotFound, codeManifestUnknown
	}
	if !json.Valid(body) {
		body = f.body()
	}
	x.err, x.outcome = err, Rejected
	if f.status == http.StatusNotFound {
		x.outcome = Missing
	}
	x.w.Header().Set("Content-Type", "application/json")
	x.send(f.status, body)
}

// refusalIn is the origin's refusal that err wraps, or nil.
func refusalIn(err error) *RefusedError {
	no, _ := errors.AsType[*RefusedError](err)
	return no
}

// everybody is the Access of a mirror that has none: what Registries have is
// for all who ask.
type everybody struct{ Registries }

// Resolve implements Access.
func (e everybody) Resolve(ctx context.Context, a Asked, tag string) (Resolved, error) {
	d, err := e.Registries.Resolve(ctx, a.Host, a.Repo, tag)
	return Resolved{Descriptor: d, Grant: anybodys{e.Registries, a}}, err
}

// Admit implements Access.
func (e everybody) Admit(_ context.Context, a Asked, _ Kind, _ piece.Digest) (Grant, error) {
	return anybodys{e.Registries, a}, nil
}

// Link implements Access.
func (everybody) Link(_, _ string, _ piece.Digest, _ []piece.Digest) {}

// anybodys is the Grant of everybody.
type anybodys struct {
	r Registries
	a Asked
}

func (g anybodys) Blob(d piece.Digest) (peer.Source, error) { return g.r.Blob(g.a.Host, g.a.Repo, d) }

func (g anybodys) Manifest(d piece.Digest) (peer.Source, error) {
	return g.r.Manifest(g.a.Host, g.a.Repo, d)
}
