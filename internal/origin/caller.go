package origin

import (
	"context"
	"errors"
	"net/http"
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
}

// Readable reports whether the registry says that it may be read.
func (a Answer) Readable() bool { return a.Status == http.StatusOK }

// Probe asks whether everybody may read a manifest: without credentials, but
// with the anonymous token that a registry gives to everybody. ref is a tag or
// a digest. Where that is refused, Challenge is what somebody must answer who
// may. An error means that no endpoint answered, or that the registry is not
// allowed (*UnknownRegistryError).
func (o *Origin) Probe(ctx context.Context, host, repo, ref string) (Answer, error) {
	a, err := o.examine(ctx, host, repo, ref, manifestHead, &right{})
	_, unfit := errors.AsType[*ChallengeError](err)
	if !unfit && (err != nil || a.Status != http.StatusUnauthorized && a.Status != http.StatusForbidden) {
		return a, err
	}
	// The token server may have refused, or the registry its token: what a
	// client without any would be told is what it must be told.
	bare, again := o.examine(ctx, host, repo, ref, manifestGet, &right{bare: true})
	if again != nil || bare.Status != http.StatusUnauthorized && !unfit {
		return a, err
	}
	return bare, nil
}

// View is an Origin as one caller sees it: every request carries the caller's
// Authorization, to the registry alone, and no token is fetched. It holds the
// secret; it is as cheap as a pointer.
type View struct {
	o  *Origin
	as *right
}

// As returns the view of whoever sent that value of Authorization.
func (o *Origin) As(authorization secret.Value) View {
	return View{o, &right{bare: true, authorization: authorization}}
}

// HeadManifest asks whether the caller may read a manifest; ref is a tag or a
// digest. An error means as in Probe.
func (v View) HeadManifest(ctx context.Context, host, repo, ref string) (Answer, error) {
	return v.o.examine(ctx, host, repo, ref, manifestHead, v.as)
}

// HeadBlob asks whether the caller may read a blob. An error means as in Probe.
func (v View) HeadBlob(ctx context.Context, host, repo string, d piece.Digest) (Answer, error) {
	return v.o.examine(ctx, host, repo, d.String(), blobHead, v.as)
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

// examine asks for something with a right, and returns what was answered. A
// refusal by HEAD has no body, and some registries do not know HEAD: a GET
// follows, whose body is not read if it succeeds.
func (o *Origin) examine(ctx context.Context, host, repo, ref string, k kind, as *right) (Answer, error) {
	if _, err := piece.ParseDigest(ref); err != nil && checkTag(ref) != nil {
		return Answer{}, checkTag(ref)
	}
	up, err := o.upstream(host)
	if err != nil {
		return Answer{}, err
	}
	q := request{kind: k, host: up.host, repo: repo, ref: ref, as: as}
	a, err := o.examined(ctx, q)
	switch {
	case err != nil, k != manifestHead && k != blobHead:
		return a, err
	case a.Status == http.StatusMethodNotAllowed, a.Status == http.StatusNotImplemented:
	case k == manifestHead && a.Status >= 400 && a.Status < 500 && a.Status != http.StatusTooManyRequests:
	default:
		return a, nil
	}
	if q.kind = manifestGet; k == blobHead {
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
			Status: no.Status, Body: no.body, RetryAfter: no.RetryAfter, Challenge: no.challenge, Unfit: no.unfit,
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
