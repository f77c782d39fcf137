package origin

import (
	"net/http"
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

// outcomes are the names in Stats of how a message ended: without an answer,
// or by the first digit of its status.
var outcomes = [...]string{"error", "1xx", "2xx", "3xx", "4xx", "5xx"}

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
	// Requests counts messages by kind ("auth", "manifest_head",
	// "manifest_get", "blob_head", "blob_get") and class ("1xx" to "5xx",
	// "error" for those without an answer). A redirect and what it leads to
	// are two.
	Requests map[[2]string]int64
}

// counters are the live form of Stats.
type counters struct {
	inflight, bytes, handshakes, broken, switched, stale atomic.Int64

	requests [kinds][len(outcomes)]atomic.Int64
}

// request counts one message.
func (c *counters) request(k kind, resp *http.Response, err error) {
	outcome := 0
	if err == nil {
		outcome = min(resp.StatusCode/100, len(outcomes)-1)
	}
	c.requests[k][outcome].Add(1)
}

// Stats returns the counters.
func (o *Origin) Stats() Stats {
	c := &o.stats
	s := Stats{
		Inflight: c.inflight.Load(), Bytes: c.bytes.Load(), Handshakes: c.handshakes.Load(),
		Errors: c.broken.Load(), Switched: c.switched.Load(), Stale: c.stale.Load(),
		Requests: make(map[[2]string]int64),
	}
	for k := range kinds {
		for i, outcome := range outcomes {
			s.Requests[[2]string{k.String(), outcome}] = c.requests[k][i].Load()
		}
		s.Errors += c.requests[k][0].Load()
	}
	return s
}
