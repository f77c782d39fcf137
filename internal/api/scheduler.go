package api

import "time"

// Status says how a program is.
type Status struct {
	Meta
	Version       string    `json:"version"`
	Started       time.Time `json:"started"`
	UptimeSeconds int64     `json:"uptimeSeconds"`
	// Scheduler is there if the program is a scheduler, or has one in it.
	Scheduler *SchedulerStatus `json:"scheduler,omitempty"`
	// Node is there if the program is p2pd.
	Node *NodeStatus `json:"node,omitempty"`
}

// SchedulerStatus is a scheduler in short.
type SchedulerStatus struct {
	Peers        int `json:"peers"`
	Swarms       int `json:"swarms"`
	ActiveSwarms int `json:"activeSwarms"` // in which somebody misses something
	Members      int `json:"members"`
	Bans         int `json:"bans"`
	// Leases are out now; the others are counted since the start.
	Leases        int   `json:"leases"`
	LeasesDone    int64 `json:"leasesDone"`
	LeasesFailed  int64 `json:"leasesFailed"`
	LeasesExpired int64 `json:"leasesExpired"`
	Stalls        int64 `json:"stalls"` // calls for help of peers that received nothing
	// Blames are what peers have blamed each other for since the start.
	Blames Blames `json:"blames"`
	// Bytes were received by all peers since the start, as they tell.
	Bytes      Bytes      `json:"bytes"`
	Registries []Registry `json:"registries"`
	// Zones are those of connected peers, by name; 256 of them at most.
	Zones []Zone `json:"zones"`
}

// Zone is the connected peers of one zone; the zone is empty for those who told
// none.
type Zone struct {
	Zone  string `json:"zone"`
	Peers int    `json:"peers"`
	Flows
}

// Flows is what the peers of a zone have received, by where it came from.
type Flows struct {
	FromZone       int64 `json:"fromZone"`       // from peers of this zone
	FromOtherZones int64 `json:"fromOtherZones"` // from peers of others
	FromOrigin     int64 `json:"fromOrigin"`     // from registries
}

// Blames are how often peers told of others, by what these did.
type Blames struct {
	False       int64 `json:"false"` // they sent bytes that were not what they claimed
	Unreachable int64 `json:"unreachable"`
	Slow        int64 `json:"slow"`
}

// Bytes is what was received, by where it came from.
type Bytes struct {
	Peers  int64 `json:"peers"`
	Origin int64 `json:"origin"`
}

// Registry is one origin as the leases on it show it.
type Registry struct {
	Host   string `json:"host"`
	Leases int    `json:"leases"`
	Bytes  int64  `json:"bytes"` // that leases on it brought
	// LeaseBytesPerSecond is what a lease on it usually gets; 0: not known.
	LeaseBytesPerSecond int64 `json:"leaseBytesPerSecond"`
	// AwayUntil is until when it asked to be left alone.
	AwayUntil *time.Time `json:"awayUntil,omitempty"`
}

// Swarm is the peers that hold or want one blob.
type Swarm struct {
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`      // SizeUnknown until a peer told it
	PieceSize int64  `json:"pieceSize"` // 0 while the size is not known
	Pieces    int    `json:"pieces"`
	Members   int    `json:"members"`
	Seeds     int    `json:"seeds"` // members that have all
	Leases    int    `json:"leases"`
	// FreePieces are those that nobody has and nobody reads.
	FreePieces int `json:"freePieces"`
	// Progress is the mean share of the blob that members have, 0 to 1.
	Progress float64 `json:"progress"`
	// Rangeless: the registry serves this blob from front to end only.
	Rangeless bool      `json:"rangeless"`
	Since     time.Time `json:"since"`
	Bytes     Bytes     `json:"bytes"` // received since then
}

// SwarmList is a page of swarms, by digest.
type SwarmList struct {
	Meta
	Items []Swarm `json:"items"`
	Page
}

// SwarmDetail is one swarm with a page of its members, by peer.
type SwarmDetail struct {
	Meta
	Swarm
	LeasedRanges string       `json:"leasedRanges"` // pieces that a lease covers
	LeasesOut    []Lease      `json:"leasesOut"`
	Zones        []SwarmZone  `json:"zones"`
	MemberItems  []Membership `json:"memberItems"`
	Page
}

// Lease is the right of one member to read some pieces from the origin.
type Lease struct {
	ID       uint64    `json:"id"`
	Holder   string    `json:"holder"`
	Registry string    `json:"registry"`
	Ranges   string    `json:"ranges"`
	Whole    bool      `json:"whole"` // from front to end, in one request
	Bytes    int64     `json:"bytes"` // read so far
	Granted  time.Time `json:"granted"`
	Moved    time.Time `json:"moved"` // when bytes last grew
}

// SwarmZone is a swarm in one zone; the zone is empty for those who told none.
type SwarmZone struct {
	Zone     string `json:"zone"`
	Members  int    `json:"members"`
	Seeds    int    `json:"seeds"`
	Gateways int    `json:"gateways"` // members that fetch for the zone
	Flows
}

// Membership is one peer's standing in one swarm.
type Membership struct {
	// Peer, Node, Zone and Rack are absent in a list of one peer's. Node is
	// absent as well where it is not known.
	Peer string `json:"peer,omitempty"`
	Node string `json:"node,omitempty"`
	Zone string `json:"zone,omitempty"`
	Rack string `json:"rack,omitempty"`
	// Digest and Size are absent in a list of one swarm's.
	Digest string `json:"digest,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Pieces int    `json:"pieces"` // of the blob
	Have   int    `json:"have"`   // of them
	// Ranges are the pieces that it has; absent in a list of one peer's.
	Ranges string `json:"ranges,omitempty"`
	Seed   bool   `json:"seed"` // it has all
	// Gateway: it fetches for its zone. Doubted: what it claims to have does
	// not count, for it is blamed for false bytes. Stalled: it receives
	// nothing and calls for help.
	Gateway bool `json:"gateway,omitempty"`
	Doubted bool `json:"doubted,omitempty"`
	Stalled bool `json:"stalled,omitempty"`
	Leases  int  `json:"leases"`
	// Neighbours are peers; absent in a list of one peer's.
	Neighbours []string `json:"neighbours,omitempty"`
	Bytes      Bytes    `json:"bytes"`
	Sent       int64    `json:"sent"` // to other members, as those tell
}

// Peer is one p2pd as the scheduler sees it.
type Peer struct {
	ID string `json:"id"`
	// Node is what the machine is called, by the credential that let it in;
	// empty where the cluster is open.
	Node  string `json:"node"`
	State string `json:"state"`
	// Addresses are multiaddrs for what neighbours tell each other, Bulk is
	// host:port for pieces.
	Addresses []string `json:"addresses,omitempty"`
	Bulk      string   `json:"bulk,omitempty"`
	Zone      string   `json:"zone"`
	Rack      string   `json:"rack"`
	// Since is when it connected; absent while it is not.
	Since   *time.Time `json:"since,omitempty"`
	Swarms  int        `json:"swarms"`
	Missing int        `json:"missing"` // swarms in which it misses something
	Leases  int        `json:"leases"`
	Bytes   Bytes      `json:"bytes"` // received since then
	Sent    int64      `json:"sent"`  // to other peers, as those tell
	Suspect *Suspicion `json:"suspect,omitempty"`
	Ban     *Ban       `json:"ban,omitempty"`
}

// The states of a Peer.
const (
	PeerOK      = "ok"
	PeerSuspect = "suspect" // blamed for false bytes
	PeerBanned  = "banned"  // no swarm takes it
)

// Suspicion is that others blame a peer for false bytes. What it claims to
// have does not count until it is over.
type Suspicion struct {
	Accusers int       `json:"accusers"`
	Until    time.Time `json:"until"`
}

// Ban is why and until when no swarm takes a peer.
type Ban struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// BanRequest asks for a ban.
type BanRequest struct {
	// For is how long, such as 10m or 24h; 30 days at most.
	For string `json:"for"`
	// Reason is for people; it is shown to everybody who asks.
	Reason string `json:"reason"`
}

// PeerList is a page of peers, by ID: those connected and those banned.
type PeerList struct {
	Meta
	Items []Peer `json:"items"`
	Page
}

// PeerDetail is one peer and where it is a member.
type PeerDetail struct {
	Meta
	Peer
	AccusedBy   []string     `json:"accusedBy"`
	Memberships []Membership `json:"memberships"` // by digest
	// More: there are more memberships than are shown of one peer.
	More bool `json:"more"`
}

// Snapshot is a scheduler at one moment, for who watches.
type Snapshot struct {
	Meta
	At     time.Time       `json:"at"`
	Status SchedulerStatus `json:"status"`
	// Swarms are some: those first that miss something.
	Swarms []Swarm `json:"swarms"`
	// Swarm is the one that was asked for, if it is there.
	Swarm *SwarmDetail `json:"swarm,omitempty"`
	// Preheats are the newest jobs, without their nodes.
	Preheats []Preheat `json:"preheats"`
	// Reports is what nodes have told, in short.
	Reports Reports `json:"reports"`
}
