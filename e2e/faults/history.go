package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Pull is one blob or manifest that a client asked for, and what it got.
type Pull struct {
	Node   int
	Digest string
	Size   int64
	Start  time.Time
	End    time.Time
	// Quiet is the number of the quiet period that it belongs to; 0: none.
	Quiet int `json:",omitempty"`
	// Got is the sum of what was received, by whatever way; empty if the
	// transfer ended early and nobody had the rest. Another than Digest is an error
	// to the client.
	Got string `json:",omitempty"`
	// Mirror and Direct are the bytes that came from p2pd and, past it, from
	// the origin, as containerd goes on there.
	Mirror, Direct int64
	// MirrorEnded says that p2pd sent as many bytes as it had promised, and
	// MirrorGot what they were; only for a transfer from the first byte.
	MirrorEnded bool   `json:",omitempty"`
	MirrorGot   string `json:",omitempty"`
	// MirrorSaid is why p2pd did not give it all.
	MirrorSaid string `json:",omitempty"`
	Err        string `json:",omitempty"`
}

// misled reports whether the client got all, and it was false.
func (p Pull) misled() bool { return p.Err != "" && p.Got != "" && p.Got != p.Digest }

// Fault is one that was in force.
type Fault struct {
	Kind  Kind
	Nodes []int // on whom; empty: on what all share
	Start time.Time
	End   time.Time
	Err   string `json:",omitempty"` // it could not be made to happen, or ended
}

// Quiet is a period without faults, or with no other than it says, in which all
// nodes pull the same blobs at once.
type Quiet struct {
	Number int
	Start  time.Time
	End    time.Time
	Nodes  int
	Bytes  int64 // of the blobs, once
	Origin int64 // that the origin sent of them
	// NoScheduler says that every scheduler was down.
	NoScheduler bool `json:",omitempty"`
	// Misread says that one of the nodes read falsely.
	Misread bool `json:",omitempty"`
}

// Intrusion is a request for private content by somebody who has no right to it.
type Intrusion struct {
	Node   int
	At     time.Time
	Digest string
	// As is what was shown: nothing, or another's password.
	As     string
	Status int // 0: no answer
	// Rightful says that it was shown the right one, to see that there is
	// something to be had.
	Rightful bool `json:",omitempty"`
}

// Sample is what one process takes.
type Sample struct {
	Process    string
	At         time.Time
	RSS        int64
	Files      int
	Goroutines int
	// StoreBytes and Capacity are p2pd's own word, OnDisk what the file system
	// says.
	StoreBytes, Capacity, OnDisk int64
	// FromPeers, FromOrigin and Relayed are totals of this life of the process.
	FromPeers, FromOrigin, Relayed int64
	FalsePieces, FalseBlobs        int64
}

// History is all that happened in a run.
type History struct {
	Seed       uint64
	Start, End time.Time
	Pulls      []Pull
	Faults     []Fault
	Quiets     []Quiet
	Intrusions []Intrusion
	Samples    []Sample
}

// recorder writes a history down while it happens, one JSON value a line. It
// is safe for concurrent use.
type recorder struct {
	mu  sync.Mutex // guards what follows
	h   History
	out *json.Encoder
	err error
}

func newRecorder(w io.Writer, seed uint64, now time.Time) *recorder {
	return &recorder{h: History{Seed: seed, Start: now}, out: json.NewEncoder(w)}
}

// add records a Pull, Fault, Quiet, Intrusion or Sample.
func (r *recorder) add(v any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch v := v.(type) {
	case Pull:
		r.h.Pulls = append(r.h.Pulls, v)
	case Fault:
		r.h.Faults = append(r.h.Faults, v)
	case Quiet:
		r.h.Quiets = append(r.h.Quiets, v)
	case Intrusion:
		r.h.Intrusions = append(r.h.Intrusions, v)
	case Sample:
		r.h.Samples = append(r.h.Samples, v)
	}
	line := map[string]any{fmt.Sprintf("%T", v)[len("faults."):]: v}
	if err := r.out.Encode(line); err != nil && r.err == nil {
		r.err = fmt.Errorf("write the history: %w", err)
	}
}

// end closes the history.
func (r *recorder) end(now time.Time) (History, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.End = now
	return r.h, r.err
}
