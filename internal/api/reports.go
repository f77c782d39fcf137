package api

import "time"

// What nodes have told a scheduler of what happened there. A scheduler keeps a
// bounded part of it, for a day at most, and none of it over a restart.

// PulledImage is the pulls of one image that have ended, on all nodes.
type PulledImage struct {
	// Image is HOST/REPOSITORY:TAG, or HOST/REPOSITORY@DIGEST where no client
	// named a tag, as the last pull had it.
	Image  string `json:"image"`
	Digest string `json:"digest"` // of the manifest
	// Pulls have ended so far, as is told below.
	Pulls    int `json:"pulls"`
	Complete int `json:"complete"` // the client got all that it asked for
	Failed   int `json:"failed"`   // something was refused or cut
	Partial  int `json:"partial"`  // the client read parts only, or went away
	// MedianMillis is of the last 256 pulls, from the request for the manifest
	// to the last byte of the last blob; SlowestMillis is of the slowest one
	// of all.
	MedianMillis  int64  `json:"medianMilliseconds"`
	SlowestMillis int64  `json:"slowestMilliseconds"`
	SlowestNode   string `json:"slowestNode"`
	// FromPeers, FromOrigin and FromCache are bytes of its blobs, by where
	// nodes had them from; cache is a node's own disk.
	FromPeers  int64     `json:"fromPeers"`
	FromOrigin int64     `json:"fromOrigin"`
	FromCache  int64     `json:"fromCache"`
	First      time.Time `json:"first"` // when the first pull ended
	Last       time.Time `json:"last"`
}

// PulledImageList is the images that were pulled, the latest first.
type PulledImageList struct {
	Meta
	Items []PulledImage `json:"items"`
}

// PulledImageDetail is one image with some of its pulls.
type PulledImageDetail struct {
	Meta
	PulledImage
	Slowest []Pull `json:"slowest"` // the slowest first
	Latest  []Pull `json:"latest"`  // the latest first
}

// Pull is one pull of an image on one node.
type Pull struct {
	Peer string `json:"peer"`
	Node string `json:"node"` // empty where it is not known
	Zone string `json:"zone"`
	Tag  string `json:"tag,omitempty"` // that the client named
	// Began is by the scheduler's clock. ManifestMillis is when the manifest
	// was there, and Millis when the last byte was, both after Began.
	Began          time.Time `json:"began"`
	ManifestMillis int64     `json:"manifestMilliseconds"`
	Millis         int64     `json:"milliseconds"`
	// Outcome is complete, failed or partial.
	Outcome string       `json:"outcome"`
	Blobs   []PulledBlob `json:"blobs"` // in the order in which they were asked for
	// More blobs were asked for than are told here; Held were not asked for,
	// as the client had them.
	More int `json:"more,omitempty"`
	Held int `json:"held"`
}

// PulledBlob is one blob of a Pull.
type PulledBlob struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	// AskedMillis, FirstMillis and DoneMillis are when it was asked for, its
	// first byte was sent, and all of it was, after the pull's begin; absent
	// where that never was.
	AskedMillis int64  `json:"askedMilliseconds"`
	FirstMillis *int64 `json:"firstMilliseconds,omitempty"`
	DoneMillis  *int64 `json:"doneMilliseconds,omitempty"`
	FromPeers   int64  `json:"fromPeers"`
	FromOrigin  int64  `json:"fromOrigin"`
	FromCache   int64  `json:"fromCache"`
}

// Incident is what went wrong on nodes in one way.
type Incident struct {
	Kind string `json:"kind"`
	// About is HOST/REPOSITORY:TAG, HOST/REPOSITORY@DIGEST or a digest.
	About string `json:"about"`
	// Status is what the registry answered; absent where that is not it.
	Status int    `json:"status,omitempty"`
	Reason string `json:"reason"`
	Advice string `json:"advice,omitempty"` // what can be done about it
	Times  int    `json:"times"`
	// Nodes are some of those where it happened, by name or peer ID, and
	// MoreNodes whether there are others.
	Nodes     []string  `json:"nodes"`
	MoreNodes bool      `json:"moreNodes,omitempty"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
}

// The kinds of an Incident.
const (
	IncidentRefusal = "refusal" // a client did not get what it asked for, by somebody's policy
	IncidentVerify  = "verify"  // bytes were not what a digest promised
)

// IncidentList is what went wrong, the latest first.
type IncidentList struct {
	Meta
	Items []Incident `json:"items"`
}

// CheckRun is a run of p2pctl check, or the last one of a canary.
type CheckRun struct {
	// Node is what the machine calls itself, Peer its p2pd if that answered.
	Node string `json:"node"`
	Peer string `json:"peer,omitempty"`
	// At is when it was told, by the scheduler's clock, which sets it.
	At     time.Time `json:"at,omitzero"`
	Millis int64     `json:"milliseconds"` // that it took
	// Every is how often it is repeated, in seconds; 0: it was made once.
	EverySeconds int64 `json:"everySeconds,omitempty"`
	Success      bool  `json:"success"`
	Made         int   `json:"made"` // checks that were not skipped
	// Image is what was pulled; PullMillis and StartMillis are how long that
	// took, and until a container of it had started.
	Image       string `json:"image,omitempty"`
	PullMillis  int64  `json:"pullMilliseconds,omitempty"`
	StartMillis int64  `json:"startMilliseconds,omitempty"`
	// Findings are the checks that failed, or warn.
	Findings []CheckFinding `json:"findings"`
	// Runs and Failures are how many there were of this node since the
	// scheduler knows, and LastSuccess when one was well; it sets them.
	Runs        int        `json:"runs,omitempty"`
	Failures    int        `json:"failures,omitempty"`
	LastSuccess *time.Time `json:"lastSuccess,omitempty"`
}

// CheckFinding is a check that is not as it should be.
type CheckFinding struct {
	ID          string `json:"id"` // of its section in docs/checks.md
	Category    string `json:"category"`
	Description string `json:"description"`
	Result      string `json:"result"` // error or warning
	Error       string `json:"error"`
	Hint        string `json:"hint,omitempty"` // the address of an explanation
}

// CheckRunList is the last run of each node, those that failed first.
type CheckRunList struct {
	Meta
	Items []CheckRun `json:"items"`
}

// Taken says that a CheckRun was taken, and on its way to whom.
type Taken struct {
	Meta
	// By is "scheduler", or "p2pd" where it goes on to all schedulers.
	By string `json:"by"`
}

// Reports is what nodes have told, in short.
type Reports struct {
	// Changes grows with each of them.
	Changes int64 `json:"changes"`
	// Images and Pulls are those that are remembered; FailedPulls of them
	// failed.
	Images      int `json:"images"`
	Pulls       int `json:"pulls"`
	FailedPulls int `json:"failedPulls"`
	// Refusals and VerifyFailures are how often, of what is remembered.
	Refusals       int `json:"refusals"`
	VerifyFailures int `json:"verifyFailures"`
	// Checks are nodes with a run, FailedChecks those whose last one failed.
	Checks       int `json:"checks"`
	FailedChecks int `json:"failedChecks"`
	// LeftOut is what nodes had too much of to tell.
	LeftOut int64 `json:"leftOut"`
}
