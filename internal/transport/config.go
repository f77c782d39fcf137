package transport

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/p2pd/p2pd/internal/throttle"
	"github.com/p2pd/p2pd/internal/tracing"
)

// Where a peer listens unless it is told otherwise: for links, and for bulk pieces.
const (
	DefaultListen = "0.0.0.0:7301"
	DefaultBulk   = "0.0.0.0:7302"
)

// Config says who a peer is and where it listens.
type Config struct {
	// KeyFile holds the identity; it is made on the first start. Required.
	KeyFile string
	// Listen is host:port of the libp2p host and Bulk that of the listener
	// for bulk pieces. The host is an IP address or empty for all, the
	// port may be 0 for any.
	Listen, Bulk string
	// Advertise is the host name or IP address that others are told. Empty:
	// the host of Listen, or the first global unicast address of this
	// machine if Listen takes all.
	Advertise string
	// Zone and Rack are told to others; may be empty.
	Zone, Rack string
	// Upload and Download bound the bulk bytes a second of all transfers
	// together, FarUpload and FarDownload of those to and from peers of
	// other zones besides; nil is no limit.
	Upload, Download       *throttle.Limit
	FarUpload, FarDownload *throttle.Limit
	// ClearBulk moves bulk pieces over bare TCP, so that sendfile works. It
	// is for networks that are encrypted already: nobody proves who they
	// are, and children are told apart by what they say. All peers of a
	// cluster must agree on it.
	ClearBulk bool
	// Members decides who may connect and be connected to. Nil is everybody.
	// It cannot be had with ClearBulk, where nobody proves anything.
	Members Members
	// Tickets are shown with requests for pieces, and taken from those of others; whether one
	// is good enough is for the peer.Handler to ask. Nil shows none.
	Tickets Tickets
	// Limits bounds what others may use.
	Limits Limits
	// Metrics takes libp2p's own metrics and those of its resource manager, whose labels
	// are of fixed sets: directions, protocols, kinds of errors. Nil: they are not made.
	Metrics prometheus.Registerer
	// Tracer makes spans of pieces that are fetched and given; nil: nobody does.
	Tracer *tracing.Tracer
	// Logger may be nil.
	Logger *slog.Logger
}

// Limits bounds memory and connections. Zero values mean the defaults.
type Limits struct {
	// Links is how many neighbours may have a HAVE link at once. Past it
	// the link that was silent longest is cut.
	Links int
	// Queue is how many bytes may wait for one neighbour. Past it the link
	// is cut.
	Queue int
	// Memory is how many bytes libp2p may promise to buffer for others.
	// Windows of idle streams count, so most of it is never used.
	Memory int64
	// Guests are the protocols of others on this host. Each has a limit of its
	// own, so that they cannot crowd out the links.
	Guests []string
	// ServeConns is how many bulk connections may be open to us.
	ServeConns int
	// FetchConns is how many bulk connections we open to one peer.
	FetchConns int
}

const (
	// defaultLinks is far above the 16 or so neighbours that a swarm
	// gives a peer, times the blobs that it takes part in at once.
	defaultLinks = 1024
	// defaultQueue takes the offers of several hundred layers to a
	// neighbour that is being dialled, and any single frame.
	defaultQueue = 2 * maxFrame
	// defaultServeConns times 64 KiB or so of TLS and HTTP buffers is
	// 32 MiB.
	defaultServeConns = 512
	// defaultFetchConns is several times the 2 to 4 requests outstanding to
	// one neighbour and blob.
	defaultFetchConns = 16
)

// far reports whether a peer in that zone is known to be in another one.
func (c Config) far(zone string) bool { return c.Zone != "" && zone != "" && zone != c.Zone }

func (l Limits) orDefault() Limits {
	l.Links = orDefault(l.Links, defaultLinks)
	l.Queue = orDefault(l.Queue, defaultQueue)
	l.Memory = orDefault(l.Memory, int64(l.Links)*linkMemory+spareMemory)
	l.ServeConns = orDefault(l.ServeConns, defaultServeConns)
	l.FetchConns = orDefault(l.FetchConns, defaultFetchConns)
	return l
}

func (c Config) orDefault() (Config, error) {
	if c.KeyFile == "" {
		return c, fmt.Errorf("transport needs a key file")
	}
	for what, s := range map[string]string{"zone": c.Zone, "rack": c.Rack, "advertised host": c.Advertise} {
		if len(s) > maxName {
			return c, fmt.Errorf("%s %.40q… is longer than %d bytes", what, s, maxName)
		}
	}
	c.Listen = orDefault(c.Listen, DefaultListen)
	c.Bulk = orDefault(c.Bulk, DefaultBulk)
	c.Limits = c.Limits.orDefault()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Members != nil && c.ClearBulk {
		return c, fmt.Errorf("pieces in the clear would be anybody's: peers cannot prove there that they are members")
	}
	if c.Members == nil {
		c.Members = everybody{}
	}
	return c, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
