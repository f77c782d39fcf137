package api

import "time"

// PreheatRequest asks for an image to be brought to nodes before anybody pulls it.
type PreheatRequest struct {
	// Image is REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@DIGEST. The registry
	// must be listed in the scheduler's preheat.registries, and nodes must read
	// from it.
	Image string `json:"image"`
	// Platforms are OS/ARCH[/VARIANT]; empty: each node gets its own.
	Platforms []string `json:"platforms,omitempty"`
	// Scope says how many of the nodes: zone (one of each zone), all, or some (count
	// or percentage of them, evenly over the zones). Empty: some with a count or a
	// percentage, else all where nodes, zones or a selector are given, else zone.
	Scope      string `json:"scope,omitempty"`
	Count      int    `json:"count,omitempty"`
	Percentage int    `json:"percentage,omitempty"` // 1 to 100
	// Nodes and Zones are those that may be chosen; empty: all. A node is named by
	// its name, a pattern of names such as gpu-*, its address or its peer ID.
	Nodes []string `json:"nodes,omitempty"`
	Zones []string `json:"zones,omitempty"`
	// Selector narrows the choice further, to nodes whose Kubernetes labels it fits when
	// the job is asked for, as for kubectl: gpu=true,disk in (ssd,nvme),!spot. The
	// schedulers must run in Kubernetes.
	Selector string `json:"selector,omitempty"`
	// Into is where the image is to be: store (p2pd's, which is the default), or
	// containerd, where it is unpacked as well. The latter takes nodes that have
	// containerd.criSocket set, each node's own platform, and a credential that is
	// a username with a password.
	Into string `json:"into,omitempty"`
	// Timeout is how long it may take, such as 25m, which is the default; 24h at most.
	Timeout string `json:"timeout,omitempty"`
	// Credential is what the registry wants to see, if it is not what scheduler and
	// nodes have themselves. It is used for this job and kept nowhere else.
	Credential *PreheatCredential `json:"credential,omitempty"`
}

// PreheatCredential is a username with a password, or a token.
type PreheatCredential struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Token    string `json:"token,omitempty"` // to be sent as Authorization: Bearer TOKEN
}

// String keeps it out of logs.
func (PreheatCredential) String() string { return "[redacted]" }

// GoString keeps it out of logs.
func (PreheatCredential) GoString() string { return "[redacted]" }

// The scopes of a PreheatRequest.
const (
	PreheatZone = "zone"
	PreheatAll  = "all"
	PreheatSome = "some"
)

// What a PreheatRequest may be Into.
const (
	PreheatStore      = "store"
	PreheatContainerd = "containerd"
)

// Preheat is a job that brings an image to nodes.
type Preheat struct {
	Meta
	ID    int64  `json:"id"` // 1 to 2^53-1
	Image string `json:"image"`
	// Digest is what the image was when it was looked up; absent until then.
	Digest     string   `json:"digest,omitempty"`
	Platforms  []string `json:"platforms,omitempty"` // absent: each node's own
	Scope      string   `json:"scope"`
	Count      int      `json:"count,omitempty"`
	Percentage int      `json:"percentage,omitempty"`
	Selector   string   `json:"selector,omitempty"`
	Into       string   `json:"into"`
	State      string   `json:"state"`
	Error      string   `json:"error,omitempty"`
	// Scheduler is the one that took it; absent where there is but one.
	Scheduler string     `json:"scheduler,omitempty"`
	Created   time.Time  `json:"created"`
	Updated   time.Time  `json:"updated"`
	Ended     *time.Time `json:"ended,omitempty"`
	// Nodes are how many were chosen, Done and Failed how many of them have ended.
	Nodes  int   `json:"nodes"`
	Done   int   `json:"done"`
	Failed int   `json:"failed"`
	Bytes  int64 `json:"bytes"`   // that are where they should be
	OfAll  int64 `json:"ofBytes"` // of so many
	// NodeItems are the nodes; absent in a list of jobs.
	NodeItems []PreheatNode `json:"nodeItems,omitempty"`
}

// The states of a Preheat.
const (
	PreheatPending   = "pending" // the image is being looked up
	PreheatRunning   = "running"
	PreheatSucceeded = "succeeded" // all nodes that were chosen have all of it
	PreheatFailed    = "failed"    // some do not, or the image could not be looked up; of a node, too
	PreheatCancelled = "cancelled"
)

// PreheatNode is how one node stands to a job.
type PreheatNode struct {
	Peer    string `json:"peer"`
	Node    string `json:"node,omitempty"`
	Zone    string `json:"zone,omitempty"`
	Address string `json:"address,omitempty"`
	State   string `json:"state"`
	Blobs   int    `json:"blobs"` // that it has
	OfBlobs int    `json:"ofBlobs"`
	Bytes   int64  `json:"bytes"`
	OfBytes int64  `json:"ofBytes"`
	// FailedBlob is the digest of what it could not get, and Error why.
	FailedBlob string `json:"failedBlob,omitempty"`
	Error      string `json:"error,omitempty"`
}

// The states of a PreheatNode; PreheatFailed is another one.
const (
	PreheatWaiting   = "waiting" // it has not answered yet
	PreheatFetching  = "fetching"
	PreheatUnpacking = "unpacking" // all is there, and containerd pulls it
	PreheatDone      = "done"
)

// PreheatList is the jobs, the newest first.
type PreheatList struct {
	Meta
	Items []Preheat `json:"items"`
}
