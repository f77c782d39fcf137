package mirror

import (
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

// Ending is a kind of request and how it ended.
type Ending struct {
	Kind    Kind
	Outcome Outcome
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
	requests [kinds][outcomes]atomic.Uint64
	running  atomic.Int64
	bytes    atomic.Uint64
}

// Stats is a copy of the counters.
func (m *Mirror) Stats() Stats {
	s := Stats{
		Requests: make(map[Ending]uint64),
		Running:  int(m.counters.running.Load()),
		Bytes:    m.counters.bytes.Load(),
	}
	for k := range kinds {
		for o := range outcomes {
			if n := m.counters.requests[k][o].Load(); n > 0 {
				s.Requests[Ending{k, o}] = n
			}
		}
	}
	return s
}
