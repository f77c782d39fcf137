package origin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/p2pd/p2pd/pkg/peer"
)

// maxRedirects is how often a registry may send us on: to its storage, and
// that to a nearer one.
const maxRedirects = 5

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
	ctx      context.Context // of the request; ends with close
	end      func()          // ends the request, even while its body is read
}

// close gives the connection back, or cuts it if bytes are outstanding.
func (a *answer) close() {
	_ = a.Body.Close() // nothing is lost that anybody still wants
	a.end()
}

// send asks, and returns once a successful answer begins. Failures are
// *UnknownRegistryError, *peer.OriginError where the registry refused, or say
// what was attempted.
func (o *Origin) send(ctx context.Context, q request) (*answer, error) {
	u, err := o.endpoint(q.host)
	if err != nil {
		return nil, err
	}
	if err := checkRepository(q.repo); err != nil {
		return nil, err
	}
	a, err := o.access(ctx, u, q.repo)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	o.stats.inflight.Add(1)
	end := sync.OnceFunc(func() { cancel(); o.stats.inflight.Add(-1) })
	resp, err := o.do(ctx, a, u, q)
	if err != nil {
		end()
		return nil, err
	}
	return &answer{Response: resp, question: q, ctx: ctx, end: end}, nil
}

// do sends q with an access and sorts the answers.
func (o *Origin) do(ctx context.Context, a *access, u *url.URL, q request) (*http.Response, error) {
	ctx, t := withTrip(ctx, q.kind)
	target := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/v2/" + q.repo + "/" + q.collection() + "/" + q.ref}
	req, err := http.NewRequestWithContext(ctx, q.method(), target.String(), nil)
	if err != nil {
		return nil, told(q.String(), err, t)
	}
	req.Header.Set("Accept-Encoding", identity)
	if q.collection() == "manifests" {
		req.Header.Set("Accept", accept)
	}
	if q.byteRange != "" {
		req.Header.Set("Range", q.byteRange)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, told(q.String(), err, t)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		if resp.StatusCode == http.StatusUnauthorized {
			o.accesses.forget(a) // its challenge may be out of date
		}
		return nil, fmt.Errorf("%s: %w", q, refusal(resp, q.byteRange))
	}
	if ce := resp.Header.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, identity) {
		_ = resp.Body.Close() // unread
		return nil, fmt.Errorf("%s: the origin encodes it as %q, which was not asked for", q, clean(ce))
	}
	return resp, nil
}

// checkRedirect follows a registry to its storage. The token stays behind:
// the handshake's transport adds it for the registry's own host alone. So
// does the address that we come from, which may be a signed one.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("redirect from https to " + req.URL.Scheme + " refused")
	}
	if req.URL.User != nil {
		return errors.New("redirect with a user refused")
	}
	req.Header.Del("Referer")
	return nil
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
