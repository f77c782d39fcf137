package origin

import (
	"net/http"
	"sync/atomic"
)

// Stats are totals since the start.
type Stats struct {
	Bytes      int64 // of bodies read
	Handshakes int64 // with repositories: ping and token
	// Requests by kind ("blobs", "manifests") and outcome ("2xx", "3xx",
	// "4xx", "5xx", "error").
	Requests map[[2]string]int64
}

var (
	requestKinds    = [2]string{"blobs", "manifests"}
	requestOutcomes = [5]string{"error", "2xx", "3xx", "4xx", "5xx"}
)

type counters struct {
	bytes, handshakes atomic.Int64
	requests          [len(requestKinds)][len(requestOutcomes)]atomic.Int64
}

func (c *counters) request(kind string, resp *http.Response, err error) {
	k, outcome := 0, 0
	if kind == requestKinds[1] {
		k = 1
	}
	if err == nil && resp.StatusCode >= 200 && resp.StatusCode < 600 {
		outcome = resp.StatusCode/100 - 1
	}
	c.requests[k][outcome].Add(1)
}

// Stats returns the counters.
func (o *Origin) Stats() Stats {
	s := Stats{Bytes: o.stats.bytes.Load(), Handshakes: o.stats.handshakes.Load(), Requests: make(map[[2]string]int64)}
	for i, k := range requestKinds {
		for j, out := range requestOutcomes {
			s.Requests[[2]string{k, out}] = o.stats.requests[i][j].Load()
		}
	}
	return s
}
