package origin

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
)

// kind says what a message to a registry is for.
type kind int

const (
	handshake kind = iota // pings, and requests for tokens
	manifestHead
	manifestGet
	blobHead
	blobGet
	kinds // how many there are
)

// String is the kind's name in Stats.
func (k kind) String() string {
	return [...]string{"auth", "manifest_head", "manifest_get", "blob_head", "blob_get"}[k]
}

// noAnswer is the code in Stats of a message without an answer.
const noAnswer = "error"

// codeOf is what a status is called in Stats: itself where it tells operators
// something of its own, else by its first digit.
func codeOf(status int) string {
	switch status {
	case http.StatusOK, http.StatusPartialContent, http.StatusTemporaryRedirect,
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return strconv.Itoa(status)
	}
	return strconv.Itoa(min(max(status/100, 1), 5)) + "xx"
}

// OtherRegistry is what registries are called in Stats that no entry of the
// configuration is about.
const OtherRegistry = "other"

// Label is what a registry is called in Stats: by its entry in the
// configuration, which may be a suffix, or OtherRegistry.
func (o *Origin) Label(host string) string {
	if up, ok := o.upstreams.Get(CanonicalHost(host)); ok {
		return up.label
	}
	return OtherRegistry
}

// Labels are all that Label can answer.
func (o *Origin) Labels() []string {
	all := []string{OtherRegistry}
	for _, r := range o.cfg.Registries {
		all = append(all, CanonicalHost(r.Host))
	}
	return all
}

// Stats counts what an Origin has done since it was made, but for the field
// that says "now".
type Stats struct {
	Inflight   int64 // requests for content now, their bodies included
	Bytes      int64 // read of bodies
	Handshakes int64 // begun, one a repository unless they are forgotten
	Switched   int64 // requests that an endpoint did not answer, of a registry that has several
	Stale      int64 // tags whose last answer was repeated
	// Errors counts messages without an answer and bodies that broke off
	// or stalled.
	Errors int64
	// Requests counts messages. A redirect and what it leads to are two. Those
	// of the code 429 are there even if there were none: that they begin must
	// show.
	Requests map[Request]int64
}

// Request is what messages are counted by.
type Request struct {
	Registry string // its label
	// Kind is "auth", "manifest_head", "manifest_get", "blob_head" or
	// "blob_get".
	Kind string
	// Code is the status, or its class such as "2xx", or "error" for those
	// without an answer.
	Code string
}

// counters are the live form of Stats.
type counters struct {
	inflight, bytes, handshakes, broken, switched, stale atomic.Int64

	mu       sync.Mutex // guards what follows
	requests map[Request]int64
}

// begin makes what is there from the start.
func (c *counters) begin(labels []string) {
	c.requests = make(map[Request]int64)
	for _, l := range labels {
		for k := range kinds {
			c.requests[Request{l, k.String(), codeOf(http.StatusTooManyRequests)}] = 0
		}
	}
}

// request counts one message of a kind that ctx is about.
func (c *counters) request(ctx context.Context, k kind, resp *http.Response, err error) {
	r := Request{labelOf(ctx), k.String(), noAnswer}
	if err == nil {
		r.Code = codeOf(resp.StatusCode)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests[r]++
}

type labelKey struct{}

// withLabel says which registry is spoken to.
func withLabel(ctx context.Context, label string) context.Context {
	return context.WithValue(ctx, labelKey{}, label)
}

func labelOf(ctx context.Context) string {
	if l, ok := ctx.Value(labelKey{}).(string); ok {
		return l
	}
	return OtherRegistry
}

// Stats returns the counters.
func (o *Origin) Stats() Stats {
	c := &o.stats
	s := Stats{
		Inflight: c.inflight.Load(), Bytes: c.bytes.Load(), Handshakes: c.handshakes.Load(),
		Errors: c.broken.Load(), Switched: c.switched.Load(), Stale: c.stale.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Requests = maps.Clone(c.requests)
	for r, n := range s.Requests {
		if r.Code == noAnswer {
			s.Errors += n
		}
	}
	return s
}
