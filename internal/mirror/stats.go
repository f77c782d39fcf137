package mirror

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Outcome is how a request ended.
type Outcome uint8

// The outcomes.
const (
	Served   Outcome = iota // 200, 206 or 304, to the last byte
	Rejected                // malformed, or more than a mirror does
	Missing                 // 404: containerd goes to its next host
	Failed                  // 5xx: the origin or the mirror could not
	Cut                     // the body was aborted after its header
	Gone                    // the client went away
	Panicked                // a defect in p2pd
	outcomes
)

// String names the outcome as metrics and logs do.
func (o Outcome) String() string {
	return [outcomes]string{"served", "rejected", "missing", "failed", "cut", "gone", "panicked"}[o]
}

// Ending is a kind of request, what Config.Label calls the registry that was
// meant, and how it ended.
type Ending struct {
	Registry string
	Kind     Kind
	Outcome  Outcome
}

// Stats counts since the mirror was made.
type Stats struct {
	// Requests are those that have ended. Endings that have not happened
	// are left out.
	Requests map[Ending]uint64
	// Running are the requests that are being answered now.
	Running int
	// Bytes is how much of manifests' and blobs' content was sent.
	Bytes uint64
}

// counters are the live form of Stats.
type counters struct {
	running atomic.Int64
	bytes   atomic.Uint64

	mu       sync.Mutex // guards what follows
	requests map[Ending]uint64
}

// ended counts a request.
func (c *counters) ended(e Ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == nil {
		c.requests = make(map[Ending]uint64)
	}
	c.requests[e]++
}

// Stats is a copy of the counters.
func (m *Mirror) Stats() Stats {
	c := &m.counters
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Requests: maps.Clone(c.requests), Running: int(c.running.Load()), Bytes: c.bytes.Load()}
}
