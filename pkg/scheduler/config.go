package scheduler

import "time"

// Defaults of Config.
const (
	// DefaultNeighbours: a mesh of degree 16 to 20 comes within a tenth of
	// the bound at a thousand peers; more costs messages and gains nothing.
	DefaultNeighbours = 16
	// DefaultMaxNeighbours leaves room for those who come later: each brings
	// DefaultNeighbours edges, so that a member has twice as many in the mean.
	DefaultMaxNeighbours = 40
	// DefaultTopologyShare is how many of the neighbours are near ones, so
	// that bytes cross a zone once and then spread inside. More would cut
	// the mesh into islands.
	DefaultTopologyShare = 3
	// DefaultLeaseBytes is the most that one lease covers: one request of
	// the origin that lasts a second or so at 100 to 200 Mbit/s.
	DefaultLeaseBytes = 16 << 20
	// DefaultLeasesPerBlob is how many connections read a blob at first; more
	// where the registry caps each one (width.go).
	DefaultLeasesPerBlob = 4
	// DefaultLeasesPerHost is what a registry host bears from one cluster.
	DefaultLeasesPerHost = 16
	// DefaultLeasesPerPeer is how much one peer reads at a time, over all
	// blobs: whoever comes first to an image would else get all leases of
	// all its layers, and share one link among them while others wait.
	DefaultLeasesPerPeer = 4
	// DefaultLeaseTimeout is how long a lease may show no byte. The holder
	// itself gives up after 2 s; this is for holders that are gone.
	DefaultLeaseTimeout = 3 * time.Second
)

// Config tunes a Scheduler. The zero value of each field means its default.
type Config struct {
	Seed uint64
	// FirstLease is the ID before that of the first lease. Where a peer may
	// come from another scheduler, it is drawn at random: what that one leased
	// must not be taken for one's own.
	FirstLease    LeaseID
	Neighbours    int
	MaxNeighbours int
	TopologyShare int
	LeaseBytes    int64
	LeasesPerBlob int
	LeasesPerHost int
	LeasesPerPeer int
	LeaseTimeout  time.Duration
	// OriginNearer says that registries are nearer than other zones are: each zone
	// reads a blob from there once, and has it from another zone only if it cannot.
	OriginNearer bool
	// Tickets has every member that downloads get one for its swarm; see Ticket.
	Tickets bool
	// MaxMemberships bounds the swarms that one peer is in.
	MaxMemberships int
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&c.Neighbours, DefaultNeighbours)
	def(&c.MaxNeighbours, max(DefaultMaxNeighbours, c.Neighbours))
	def(&c.TopologyShare, DefaultTopologyShare)
	def(&c.LeasesPerBlob, DefaultLeasesPerBlob)
	def(&c.LeasesPerHost, DefaultLeasesPerHost)
	def(&c.LeasesPerPeer, DefaultLeasesPerPeer)
	def(&c.MaxMemberships, DefaultMaxMemberships)
	if c.LeaseBytes <= 0 {
		c.LeaseBytes = DefaultLeaseBytes
	}
	if c.LeaseTimeout <= 0 {
		c.LeaseTimeout = DefaultLeaseTimeout
	}
	return c
}
