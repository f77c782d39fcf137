package origin

import (
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
)

const (
	// DefaultSwitchTimeout is how long an endpoint may take to begin an
	// answer where something else can be had instead. A registry that is
	// well answers in far less, and containerd gives its mirror 2 s for
	// headers.
	DefaultSwitchTimeout = 1500 * time.Millisecond
	// downFor is how long an endpoint that failed comes last. Short enough
	// to go back soon to what is near; long enough that the blobs of one
	// image do not all wait for it.
	downFor = 10 * time.Second
)

// endpoint is one of the places where a registry is.
type endpoint struct {
	url *url.URL

	mu   sync.Mutex
	down time.Time // until when it comes last
}

func (e *endpoint) isDown(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return now.Before(e.down)
}

// failed puts e behind the others for a while, or for as long as it asked.
func (e *endpoint) failed(now time.Time, err error) {
	wait := downFor
	if refused, ok := errors.AsType[*peer.OriginError](err); ok {
		wait = max(wait, refused.RetryAfter)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = now.Add(wait)
}

func (e *endpoint) works() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.down = time.Time{}
}

// inOrder are the endpoints to ask, one after the other: those that are down
// come last, because they may be up again.
func (u *upstream) inOrder(now time.Time) []*endpoint {
	if len(u.endpoints) == 1 {
		return u.endpoints
	}
	var up, down []*endpoint
	for _, e := range u.endpoints {
		if e.isDown(now) {
			down = append(down, e)
		} else {
			up = append(up, e)
		}
	}
	return append(up, down...)
}

// unavailable reports whether err says that nothing was answered: somebody
// else may have an answer. What a registry refuses, it has answered.
func unavailable(err error) bool {
	if refused, ok := errors.AsType[*peer.OriginError](err); ok {
		return refused.Status >= 500 || refused.Status == http.StatusTooManyRequests
	}
	_, unknown := errors.AsType[*UnknownRegistryError](err)
	_, unfit := errors.AsType[*ChallengeError](err)
	return err != nil && !unknown && !unfit
}
