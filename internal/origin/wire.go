package origin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// wire is the innermost transport of one access: all that is sent for it
// passes here, pings, token requests and redirects included. It holds them to
// the endpoint's scheme, counts them, and notes what go-containerregistry's
// errors leave out.
type wire struct {
	endpoint *url.URL
	rt       http.RoundTripper
	stats    *counters
}

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := w.admit(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper must, whatever happens
		}
		return nil, err
	}
	t := tripOf(r.Context())
	kind := t.kind
	if !isContent(r) {
		kind = handshake // also amid a request for content, when a token has expired
	}
	resp, err := w.rt.RoundTrip(r)
	w.stats.request(kind, resp, err)
	t.note(resp, err)
	return resp, err
}

// admit refuses to leave the scheme that the operator chose. A registry
// reached by https leads to nothing in clear, not even for its tokens; one
// reached by http is not asked for TLS, which go-containerregistry would try
// first.
func (w *wire) admit(u *url.URL) error {
	if w.endpoint.Scheme == "https" && u.Scheme != "https" {
		return fmt.Errorf("%s to %s refused: the registry is reached by https", u.Scheme, u.Host)
	}
	if w.endpoint.Scheme == "http" && u.Scheme != "http" && u.Host == w.endpoint.Host {
		return fmt.Errorf("%s to %s refused: the registry is reached by http", u.Scheme, u.Host)
	}
	return nil
}

// identity is the Accept-Encoding of requests for content. It goes through
// redirects, and what go-containerregistry sends by itself does not have it.
const identity = "identity"

func isContent(r *http.Request) bool { return r.Header.Get("Accept-Encoding") == identity }

// trip is what is known of one request of ours, whatever it takes to get it
// answered. It travels in the context, because some of that is done by
// go-containerregistry, whose errors leave it out.
type trip struct {
	kind kind

	mu   sync.Mutex    // guards what follows: two pings may run at once
	wait time.Duration // Retry-After of the last answer, if it was to mean something
	lost error         // why there was no last answer
}

type tripKey struct{}

func withTrip(ctx context.Context, k kind) (context.Context, *trip) {
	t := &trip{kind: k}
	return context.WithValue(ctx, tripKey{}, t), t
}

// tripOf is the trip that r's context is of; go-containerregistry passes ours
// on with everything that it sends.
func tripOf(ctx context.Context) *trip {
	if t, ok := ctx.Value(tripKey{}).(*trip); ok {
		return t
	}
	return &trip{}
}

// note takes what came of one message.
func (t *trip) note(resp *http.Response, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wait, t.lost = 0, err
	if err == nil && asksToWait(resp.StatusCode) {
		t.wait = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
}

// last returns what came of the last message.
func (t *trip) last() (wait time.Duration, lost error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.wait, t.lost
}
