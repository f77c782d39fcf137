package origin

import (
	"context"
	"net/http"
	"net/url"

	"github.com/p2pd/p2pd/internal/egress"
)

// wire is the innermost transport: all that is sent passes here, pings, token
// requests and redirects included. It counts, and says who we are.
type wire struct {
	rt    http.RoundTripper
	agent string
	stats *counters
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	kind := handshake // also amid a request for content, when a token has expired
	if r.Header.Get("Accept-Encoding") == identity {
		kind = kindOf(r.Context())
	}
	if w.agent != "" && r.Header.Get("User-Agent") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", w.agent)
	}
	resp, err := w.rt.RoundTrip(r)
	w.stats.request(r.Context(), kind, resp, err)
	return resp, err
}

// identity is the Accept-Encoding of requests for content. It goes through
// redirects, and pings and requests for tokens do not have it.
const identity = "identity"

type kindKey struct{}

func withKind(ctx context.Context, k kind) context.Context {
	return context.WithValue(ctx, kindKey{}, k)
}

func kindOf(ctx context.Context) kind {
	k, _ := ctx.Value(kindKey{}).(kind) // without one it is the handshake's
	return k
}

// sameHost reports whether two URLs lead to the same place by the same way.
func sameHost(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && egress.HostPort(a.Scheme, a.Host) == egress.HostPort(b.Scheme, b.Host)
}
