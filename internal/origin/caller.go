package origin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/p2pd/p2pd/internal/egress"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// right is what a request is made with, where that is not the node's own.
type right struct {
	// bare sends authorization as it is, or nothing if it is zero, and
	// answers no challenge. Without it an anonymous token is fetched.
	bare          bool
	authorization secret.Value
}

// asCaller is the client for a request with a right of its own; nil where a
// handshake is to be made.
func (o *Origin) asCaller(e *endpoint, q request) *http.Client {
	if q.as == nil || !q.as.bare {
		return nil
	}
	return &http.Client{Transport: &bearer{o.wire, e, q.as.authorization}, CheckRedirect: egress.CheckRedirect}
}

// bearer shows a caller's Authorization to one endpoint, and to no other host.
type bearer struct {
	inner         http.RoundTripper
	endpoint      *endpoint
	authorization secret.Value
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if sameHost(r.URL, b.endpoint.url) {
		r = authorized(r, b.authorization)
	}
	return b.inner.RoundTrip(r)
}

// Answer is what a registry said to the question whether something may be
// read.
type Answer struct {
	// Status is the registry's: 200 if it may be read; 401, 403, 404, 412
	// and other 4xx where it refuses; 429 and 5xx where it does not know.
	Status int
	// Descriptor is set if Status is 200: of a manifest as far as the
	// registry said it, of a blob the size alone.
	Descriptor Descriptor
	// Body is the registry's own JSON of a refusal, at most 64 KiB; nil
	// where there is none.
	Body []byte
	// RetryAfter is how long the registry wants to be left alone; 0 where
	// it does not say.
	RetryAfter time.Duration
	// Challenge comes with 401 and may be passed on to a client: its realm
	// has been checked. Its zero value cannot be passed on; Unfit says why,
	// and is nil where the registry sent no challenge that we know.
	Challenge Challenge
	Unfit     error
	// Challenges are the registry's WWW-Authenticate headers of a 401 as it
	// sent them, unchecked: not to be passed on.
	Challenges []string
}

// Readable reports whether the registry says that it may be read.
func (a Answer) Readable() bool { return a.Status == http.StatusOK }

// Probe asks whether everybody may read a manifest, ref being a tag or a
// digest: Anonymous().HeadManifest.
func (o *Origin) Probe(ctx context.Context, host, repo, ref string) (Answer, error) {
	return o.Anonymous().HeadManifest(ctx, host, repo, ref)
}

// View is an Origin as one caller sees it. It may hold a secret; it is as cheap
// as a pointer.
type View struct {
	o  *Origin
	as *right
}

// As is the view of whoever sent that value of Authorization: every request
// carries it, to the registry alone, and no token is fetched.
func (o *Origin) As(authorization secret.Value) View {
	return View{o, &right{bare: true, authorization: authorization}}
}

// Anonymous is the view of everybody: no credentials are sent, those of the
// node neither, but the token that a registry gives to everybody is. Where a
// Head is refused, its Answer's Challenge is what the registry sends to those
// who bring nothing: whoever may read it must answer that.
func (o *Origin) Anonymous() View { return View{o, &right{}} }

// Node is the view with the node's own credentials, as the Origin's methods
// have it.
func (o *Origin) Node() View { return View{o, nil} }

// HeadManifest asks whether a manifest may be read; ref is a tag or a digest.
// An error means that no endpoint answered, that the registry is not allowed
// (*UnknownRegistryError), or that the node's own handshake failed.
func (v View) HeadManifest(ctx context.Context, host, repo, ref string) (Answer, error) {
	return v.head(ctx, request{kind: manifestHead, host: host, repo: repo, ref: ref, as: v.as})
}

// HeadBlob asks whether a blob may be read. An error means as in HeadManifest.
func (v View) HeadBlob(ctx context.Context, host, repo string, d piece.Digest) (Answer, error) {
	return v.head(ctx, request{kind: blobHead, host: host, repo: repo, ref: d.String(), as: v.as})
}

// Resolve is Origin.Resolve with the caller's right. What it repeats while the
// origin is down may have been another caller's answer: whether this one may
// read it has to be known from elsewhere.
func (v View) Resolve(ctx context.Context, host, repo, tag string) (Descriptor, error) {
	return v.o.resolve(ctx, host, repo, tag, v.as)
}

// Blob is Origin.Blob with the caller's right.
func (v View) Blob(host, repo string, d piece.Digest) (peer.Source, error) {
	return v.o.blob(host, repo, d, v.as)
}

// Manifest is Origin.Manifest with the caller's right.
func (v View) Manifest(host, repo string, d piece.Digest) (peer.Source, error) {
	return v.o.manifestOf(host, repo, d, v.as)
}

// head asks by HEAD, and for everybody once more with nothing at all where the
// token server or the registry refuses.
func (v View) head(ctx context.Context, q request) (Answer, error) {
	if _, err := piece.ParseDigest(q.ref); err != nil && checkTag(q.ref) != nil {
		return Answer{}, checkTag(q.ref)
	}
	a, err := v.o.examine(ctx, q)
	_, unfit := errors.AsType[*ChallengeError](err)
	denied := err == nil && (a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden)
	if v.as == nil || v.as.bare || !unfit && !denied {
		return a, err
	}
	q.as = &right{bare: true}
	bare, again := v.o.examine(ctx, q)
	if again != nil || bare.Status != http.StatusUnauthorized && !unfit {
		return a, err
	}
	return bare, nil
}

// examine asks by HEAD, and returns what was answered. A refusal by HEAD has no
// body, and some registries do not know HEAD: a GET follows, whose body is not
// read if it succeeds.
func (o *Origin) examine(ctx context.Context, q request) (Answer, error) {
	a, err := o.examined(ctx, q)
	manifest := q.kind == manifestHead
	switch {
	case err != nil:
		return a, err
	case a.Status == http.StatusMethodNotAllowed, a.Status == http.StatusNotImplemented:
	case manifest && a.Status >= 400 && a.Status < 500 && a.Status != http.StatusTooManyRequests:
	default:
		return a, nil
	}
	if q.kind = manifestGet; !manifest {
		q.kind, q.byteRange = blobGet, "bytes=0-0"
	}
	again, err := o.examined(ctx, q)
	if err != nil || again.Status >= 500 || again.Status == http.StatusTooManyRequests {
		return a, nil //nolint:nilerr // the first answer is one
	}
	return again, nil
}

// examined sends q and makes an Answer of whatever a registry says.
func (o *Origin) examined(ctx context.Context, q request) (Answer, error) {
	a, err := o.send(ctx, q)
	if no, ok := errors.AsType[*refused](err); ok {
		return Answer{
			Status: no.Status, Body: no.body, RetryAfter: no.RetryAfter, Challenge: no.challenge, Unfit: no.unfit, Challenges: no.challenges,
		}, nil
	}
	if err != nil {
		return Answer{}, err
	}
	a.close()
	d := Descriptor{Size: a.ContentLength, MediaType: mediaType(a.Header)}
	if a.StatusCode == http.StatusPartialContent {
		s, err := a.span(0, 1)
		if err != nil {
			return Answer{}, err
		}
		d.Size = s.size
	}
	if q.collection() == "blobs" {
		d.MediaType = ""
	} else if digest, err := piece.ParseDigest(a.Header.Get(digestHeader)); err == nil {
		d.Digest = digest
	}
	return Answer{Status: http.StatusOK, Descriptor: d}, nil
}

// CheckRealm says why a registry must not send its clients to a URL for their
// tokens, by its name and by what that resolves to now.
func (o *Origin) CheckRealm(ctx context.Context, registry string, realm *url.URL) error {
	up, err := o.upstream(registry)
	if err != nil {
		return err
	}
	for _, e := range up.endpoints {
		if err = o.checkRealm(ctx, up, e, realm.String()); err == nil {
			return nil
		}
	}
	return err
}
