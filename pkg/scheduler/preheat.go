package scheduler

import (
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Preheat and PreheatEnd are decisions that a shell makes on behalf of an
// operator's job (internal/preheat), as is PreheatReport the event that answers
// them; no Scheduler makes or takes any. They only say what to fetch: the bytes
// go the way of every other download.

// PreheatJob names a preheat job. It fits into a JSON number: it is from 1 to
// 2^53-1.
type PreheatJob int64

// PreheatJobMost is the largest PreheatJob: whoever reads JSON numbers into
// doubles keeps all digits.
const PreheatJobMost = 1<<53 - 1

// Preheat asks To to bring blobs into its store. To decides whether it reads from
// that registry at all.
type Preheat struct {
	To  PeerID
	Job PreheatJob
	// Registry is HOST[:PORT] as images name it, Repository lies there. No URL:
	// where that is reached, the peer's own configuration says.
	Registry, Repository string
	// Blobs are what the image is made of. The first is what its name stands for.
	Blobs []PreheatBlob
	// Authorization is the value of that header to read with, for this job alone;
	// zero: the peer reads with its own right.
	Authorization secret.Value
	// Bereft says that the job had an Authorization that is gone with the
	// scheduler that knew it.
	Bereft bool
	// Unpack is the tag or digest by which To's container runtime is to pull the
	// image once the blobs are here; empty: the store will do. Login is what it
	// shows the registry, USER:PASSWORD in base64; zero: what it has itself.
	Unpack string
	Login  secret.Value
	Reason string
}

// PreheatBlob is one blob of a Preheat.
type PreheatBlob struct {
	Digest   piece.Digest
	Size     int64 // in bytes; never SizeUnknown
	Manifest bool  // it is read as a manifest
}

// PreheatEnd tells To to forget a job, done or not. Blobs that nobody else wants
// are not fetched any further.
type PreheatEnd struct {
	To     PeerID
	Job    PreheatJob
	Reason string
}

// PreheatReport is how far a peer is with a job.
type PreheatReport struct {
	Peer  PeerID
	Job   PreheatJob
	State PreheatState
	// Blobs and Bytes are how many are here, of all that were asked for.
	Blobs int
	Bytes int64
	// Unpacking says that they are all here, and the container runtime pulls.
	Unpacking bool
	// Failed is the blob that could not be had, and Error why, with
	// PreheatFailed. Failed may be zero.
	Failed piece.Digest
	Error  string
}

// PreheatState is how a peer stands to a job.
type PreheatState uint8

// The states.
const (
	PreheatFetching PreheatState = iota + 1
	PreheatDone
	PreheatFailed
)

// Recipient implements Decision.
func (d Preheat) Recipient() PeerID { return d.To }

// Recipient implements Decision.
func (d PreheatEnd) Recipient() PeerID { return d.To }

// Why implements Decision.
func (d Preheat) Why() string { return d.Reason }

// Why implements Decision.
func (d PreheatEnd) Why() string { return d.Reason }

func (PreheatReport) event() {}
