package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
)

// accept lists every kind of manifest that registries keep; the last entry is
// for what images do not use, such as artifacts of other types.
var accept = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"*/*;q=0.5",
}, ", ")

// request is one question to a registry.
type request struct {
	kind       kind
	host, repo string
	ref        string // digest or tag
	byteRange  string // of a Range header; empty for none
	as         *right // that it is asked with; nil is the node's own
	hurry      bool   // there is something to fall back on
}

// String says what is attempted, for errors.
func (q request) String() string {
	return fmt.Sprintf("%s %s %s of %s/%s", q.method(), strings.TrimSuffix(q.collection(), "s"), q.ref, q.host, q.repo)
}

func (q request) collection() string {
	if q.kind == blobHead || q.kind == blobGet {
		return "blobs"
	}
	return "manifests"
}

func (q request) method() string {
	if q.kind == blobHead || q.kind == manifestHead {
		return http.MethodHead
	}
	return http.MethodGet
}

// answer is a response with status 200 or 206. Whoever gets one closes it.
type answer struct {
	*http.Response
	question request
	endpoint *endpoint
	ctx      context.Context // of the request; ends with close
	end      func()          // ends the request, even while its body is read
}

// close gives the connection back, or cuts it if bytes are outstanding.
func (a *answer) close() {
	_ = a.Body.Close() // nothing is lost that anybody still wants
	a.end()
}

// send asks, one endpoint after the other, and returns once a successful
// answer begins. Failures are *UnknownRegistryError, *peer.OriginError where
// the registry refused, or say what was attempted.
func (o *Origin) send(ctx context.Context, q request) (*answer, error) {
	up, err := o.upstream(q.host)
	if err != nil {
		return nil, err
	}
	if err := checkRepository(q.repo); err != nil {
		return nil, err
	}
	several := len(up.endpoints) > 1
	order := up.inOrder(time.Now())
	for i, e := range order {
		patience := time.Duration(0)
		if i < len(order)-1 || q.hurry {
			patience = o.cfg.SwitchTimeout
		}
		var a *answer
		if a, err = o.try(ctx, q, up, e, patience); err == nil {
			if several {
				e.works()
			}
			return a, nil
		}
		if ctx.Err() != nil || !unavailable(err) {
			return nil, err
		}
		if several {
			e.failed(time.Now(), err)
			o.stats.switched.Add(1)
		}
	}
	return nil, err
}

// try asks one endpoint. A patience that is not 0 bounds the time until its
// answer begins, the handshake included.
func (o *Origin) try(ctx context.Context, q request, up *upstream, e *endpoint, patience time.Duration) (*answer, error) {
	ctx, cancel := context.WithCancelCause(withLabel(ctx, up.label))
	o.stats.inflight.Add(1)
	end := sync.OnceFunc(func() { cancel(context.Canceled); o.stats.inflight.Add(-1) })
	inTime := func() bool { return true }
	if patience > 0 {
		inTime = time.AfterFunc(patience, func() { cancel(errSlowEndpoint) }).Stop
	}
	resp, err := o.ask(ctx, q, up, e)
	if !inTime() {
		if err == nil {
			_ = resp.Body.Close() // it came too late
		}
		err = fmt.Errorf("%s: %w for %s", q, errSlowEndpoint, patience)
	}
	if err != nil {
		end()
		return nil, err
	}
	return &answer{Response: resp, question: q, endpoint: e, ctx: ctx, end: end}, nil
}

// ask sends q as whoever it is asked for, and sorts the answers.
func (o *Origin) ask(ctx context.Context, q request, up *upstream, e *endpoint) (*http.Response, error) {
	client := o.asCaller(e, q)
	var a *access
	if client == nil {
		var err error
		if a, err = o.access(ctx, up, e, q); err != nil {
			return nil, fmt.Errorf("%s: %w", q, err)
		}
		client = a.client
	}
	req, err := q.build(withKind(ctx, q.kind), e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q, &quiet{err})
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q, &quiet{err})
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		if a != nil && resp.StatusCode == http.StatusUnauthorized {
			o.accesses.forget(a) // its challenge may be out of date
		}
		refused := refusal(resp, q.byteRange)
		if resp.StatusCode == http.StatusUnauthorized && sameHost(resp.Request.URL, e.url) {
			refused.challenges = resp.Header.Values("WWW-Authenticate")
			refused.challenge, refused.unfit = o.challengeOf(ctx, up, e, refused.challenges)
		}
		return nil, fmt.Errorf("%s: %w", q, refused)
	}
	if ce := resp.Header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, identity) {
		_ = resp.Body.Close() // unread
		return nil, fmt.Errorf("%s: the origin encodes it as %q, which was not asked for", q, clean(ce))
	}
	return resp, nil
}

// build makes the message to an endpoint.
func (q request) build(ctx context.Context, e *endpoint) (*http.Request, error) {
	target := url.URL{Scheme: e.url.Scheme, Host: e.url.Host, Path: "/v2/" + q.repo + "/" + q.collection() + "/" + q.ref}
	req, err := http.NewRequestWithContext(ctx, q.method(), target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", identity)
	if q.collection() == "manifests" {
		req.Header.Set("Accept", accept)
	}
	if q.byteRange != "" {
		req.Header.Set("Range", q.byteRange)
	}
	return req, nil
}

// refusedWith reports whether the registry answered with one of codes.
func refusedWith(err error, codes ...int) bool {
	refused, ok := errors.AsType[*peer.OriginError](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if refused.Status == c {
			return true
		}
	}
	return false
}
