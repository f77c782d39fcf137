package preheat

import (
	"net"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Job is one preheat as schedulers tell it each other, as JSON. It holds no
// secret.
type Job struct {
	ID   scheduler.PreheatJob `json:"id"`
	Spec Spec                 `json:"spec"`
	// Secret says that it reads with a credential of its own.
	Secret bool `json:"secret,omitempty"`
	// TakenBy is the scheduler that took it; empty: there is but one.
	TakenBy string `json:"takenBy,omitempty"`
	// Revision grows when whoever drives it decides something.
	Revision int       `json:"revision"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Ended    time.Time `json:"ended"` // zero: it runs
	State    string    `json:"state"` // of api.Preheat
	Error    string    `json:"error,omitempty"`
	// What follows is there once the image has been looked up.
	Digest   string    `json:"digest,omitempty"`
	Variants []Variant `json:"variants,omitempty"`
	Nodes    []*Node   `json:"nodes,omitempty"` // by peer
}

// Spec is what was asked for.
type Spec struct {
	Registry   string   `json:"registry"`
	Repository string   `json:"repository"`
	Reference  string   `json:"reference"` // tag or digest
	Platforms  []string `json:"platforms,omitempty"`
	Scope      string   `json:"scope"` // of api.PreheatRequest
	Count      int      `json:"count,omitempty"`
	Percentage int      `json:"percentage,omitempty"`
	Nodes      []string `json:"nodes,omitempty"`
	Zones      []string `json:"zones,omitempty"`
	// Labelled are the only nodes that may be chosen; nil: all.
	Labelled *Labelled     `json:"labelled,omitempty"`
	Timeout  time.Duration `json:"timeout"`
	// Into is api.PreheatContainerd, or empty: the store.
	Into string `json:"into,omitempty"`
}

// Image is the name of the image that was asked for.
func (s *Spec) Image() string {
	sep := ":"
	if s.pinned() {
		sep = "@"
	}
	return s.Registry + "/" + s.Repository + sep + s.Reference
}

// pinned reports whether the image is named by its digest.
func (s *Spec) pinned() bool {
	_, err := piece.ParseDigest(s.Reference)
	return err == nil
}

// same reports whether two ask for the same thing.
func (s *Spec) same(o *Spec) bool {
	return s.Image() == o.Image() && s.Into == o.Into && s.Scope == o.Scope && s.Count == o.Count && s.Percentage == o.Percentage &&
		slices.Equal(s.Platforms, o.Platforms) && slices.Equal(s.Nodes, o.Nodes) && slices.Equal(s.Zones, o.Zones) &&
		s.Labelled.same(o.Labelled)
}

// Variant is what an image is made of for one platform: the index, if there is
// one, the manifest, the config and the layers.
type Variant struct {
	Platform string `json:"platform"` // empty: the image does not say
	Blobs    []Blob `json:"blobs"`
}

// Blob is one of them.
type Blob struct {
	Digest   string `json:"digest"`
	Size     int64  `json:"size"`
	Manifest bool   `json:"manifest,omitempty"`
}

// Node is how one node stands to a job.
type Node struct {
	Peer     scheduler.PeerID `json:"peer"`
	Name     string           `json:"name,omitempty"`
	Zone     string           `json:"zone,omitempty"`
	Address  string           `json:"address,omitempty"`
	Platform string           `json:"platform,omitempty"`
	State    string           `json:"state"` // of api.PreheatNode
	Blobs    int              `json:"blobs"`
	Bytes    int64            `json:"bytes"`
	OfBlobs  int              `json:"ofBlobs"`
	OfBytes  int64            `json:"ofBytes"`
	Failed   string           `json:"failed,omitempty"` // digest
	Error    string           `json:"error,omitempty"`

	// Of whoever drives the job alone: when the node was first and last told, when
	// it was last heard of, and since when it has no stream.
	told, toldLast, heard, gone time.Time
}

func newNode(p scheduler.Peer) *Node {
	host, _, err := net.SplitHostPort(p.Bulk)
	if err != nil {
		host = ""
	}
	return &Node{Peer: p.ID, Name: p.Node, Zone: p.Zone, Address: host, Platform: p.Platform, State: api.PreheatWaiting}
}

// called is what people call the node.
func (n *Node) called() string {
	switch {
	case n.Name != "":
		return n.Name
	case n.Address != "":
		return n.Address
	}
	return string(n.Peer)
}

func (n *Node) ended() bool { return n.State == api.PreheatDone || n.State == api.PreheatFailed }

// further reports whether o knows more of the node than n.
func (n *Node) further(o *Node) bool {
	if n.ended() || o.ended() {
		return !n.ended()
	}
	order := []string{api.PreheatWaiting, api.PreheatFetching, api.PreheatUnpacking}
	return o.Bytes > n.Bytes || o.Blobs > n.Blobs || slices.Index(order, o.State) > slices.Index(order, n.State)
}

// take learns what o knows.
func (n *Node) take(o *Node) {
	n.State, n.Blobs, n.Bytes, n.Failed, n.Error = o.State, o.Blobs, o.Bytes, o.Failed, o.Error
}

// running reports whether anything is still to be done.
func (j *Job) running() bool { return j.Ended.IsZero() }

func (j *Job) node(p scheduler.PeerID) *Node {
	i, ok := slices.BinarySearchFunc(j.Nodes, p, func(n *Node, p scheduler.PeerID) int {
		switch {
		case n.Peer < p:
			return -1
		case n.Peer > p:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return j.Nodes[i]
}

// blobs are what a node is to have: of the platforms that were asked for, or else
// of its own.
func (j *Job) blobs(n *Node) []Blob {
	var all []Blob
	seen := make(map[string]bool)
	for _, v := range j.Variants {
		if !v.fits(j.Spec.Platforms, n.Platform) {
			continue
		}
		for _, b := range v.Blobs {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				all = append(all, b)
			}
		}
	}
	return all
}

// clone is a copy that nobody else changes.
func (j *Job) clone() *Job {
	c := *j
	c.Nodes = make([]*Node, len(j.Nodes))
	for i, n := range j.Nodes {
		one := *n
		c.Nodes[i] = &one
	}
	return &c
}
