package daemon

import (
	"time"

	"github.com/p2pd/p2pd/internal/transport"
)

// NodeConfig is the configuration of p2pd. docs/p2pd.yaml explains each key.
type NodeConfig struct {
	Mirror            MirrorConfig     `json:"mirror"`
	Peer              PeerConfig       `json:"peer"`
	HTTP              HTTPConfig       `json:"http"`
	Scheduler         SchedulerAddress `json:"scheduler"`
	EmbeddedScheduler EmbeddedConfig   `json:"embeddedScheduler"`
	Membership        MembershipConfig `json:"membership"`
	Discovery         DiscoveryConfig  `json:"discovery"`
	Store             StoreConfig      `json:"store"`
	Containerd        ContainerdConfig `json:"containerd"`
	Local             LocalConfig      `json:"local"`
	// Registries are hosts that clients may name, besides the public ones.
	Registries Registries `json:"registries"`
	// AllowAllRegistries admits every public registry besides.
	AllowAllRegistries bool           `json:"allowAllRegistries"`
	Access             AccessConfig   `json:"access"`
	Limits             LimitsConfig   `json:"limits"`
	Topology           TopologyConfig `json:"topology"`
	Log                LogConfig      `json:"log"`
	Tracing            TracingConfig  `json:"tracing"`
}

// MirrorConfig is containerd's side.
type MirrorConfig struct {
	Listen string `json:"listen"`
	// Exposed lets Listen be other than loopback: in a pod, behind a port of
	// the node's loopback.
	Exposed bool `json:"exposed"`
	// DefaultRegistry serves requests without an ns parameter.
	DefaultRegistry string   `json:"defaultRegistry"`
	Drain           Duration `json:"drain"`
	// RangeFetch is how much of a blob is fetched for somebody who asks for a
	// part of it: pieces or whole.
	RangeFetch string `json:"rangeFetch"`
	// Prefetch fetches the layers after one that a client reads from peers,
	// before it asks.
	Prefetch bool `json:"prefetch"`
}

// PeerConfig is the swarm's side.
type PeerConfig struct {
	Listen     string `json:"listen"`
	BulkListen string `json:"bulkListen"`
	Advertise  string `json:"advertise"`
	// KeyFile holds the identity; empty: the file "key" in store.path.
	KeyFile string `json:"keyFile"`
	// BulkTLS off moves pieces in the clear, where the network is
	// encrypted already.
	BulkTLS bool `json:"bulkTLS"`
	// UploadSlots is how many pieces are served at once; 0 leaves it to the
	// engine.
	UploadSlots int `json:"uploadSlots"`
}

// HTTPConfig is where health and metrics are served.
type HTTPConfig struct {
	Listen string `json:"listen"`
	// Pprof adds the profiler. A heap dump may hold what clients sent, so
	// Listen must be on loopback then.
	Pprof bool `json:"pprof"`
}

// SchedulerAddress is where schedulers are, one or several with commas between
// them; empty: none.
type SchedulerAddress struct {
	Address string `json:"address"`
}

// EmbeddedConfig runs a scheduler in p2pd's own process.
type EmbeddedConfig struct {
	Enabled bool   `json:"enabled"`
	Listen  string `json:"listen"`
	// Membership is token or open.
	Membership string `json:"membership"`
}

// StoreConfig is the disk.
type StoreConfig struct {
	Path     string `json:"path"`
	Capacity Bytes  `json:"capacity"`
	// KeepFree is left to others on the disk, even if that means less than
	// Capacity.
	KeepFree Room `json:"keepFree"`
}

// TopologyConfig says where the node is.
type TopologyConfig struct {
	Zone string `json:"zone"`
	Rack string `json:"rack"`
}

// LogConfig is what is logged, and how.
type LogConfig struct {
	Level  string `json:"level"`
	Format string `json:"format"`
}

// TracingConfig is about traces of pulls; where they go, OTEL_* variables of the
// environment say.
type TracingConfig struct {
	Enabled bool `json:"enabled"`
}

// HubConfig is the configuration of the scheduler.
type HubConfig struct {
	Listen     string        `json:"listen"`
	HTTP       HTTPConfig    `json:"http"`
	Membership HubMembership `json:"membership"`
	Fleet      FleetConfig   `json:"fleet"`
	Zones      ZonesConfig   `json:"zones"`
	// Admin is for operators.
	Admin AdminConfig `json:"admin"`
	// Page is for those who watch from elsewhere.
	Page PageConfig `json:"page"`
	// Preheat is about images that are brought to nodes before anybody pulls.
	Preheat PreheatConfig `json:"preheat"`
	// Seed makes the choices among equals repeatable; 0 draws one.
	Seed uint64    `json:"seed"`
	Log  LogConfig `json:"log"`
}

// DefaultNodeConfig is what p2pd does when nothing is configured.
func DefaultNodeConfig() NodeConfig {
	return NodeConfig{
		Mirror:             MirrorConfig{Listen: "127.0.0.1:7300", Drain: Duration(20 * time.Second), RangeFetch: "pieces"},
		Peer:               PeerConfig{Listen: transport.DefaultListen, BulkListen: transport.DefaultBulk, BulkTLS: true},
		HTTP:               HTTPConfig{Listen: "127.0.0.1:7303"},
		EmbeddedScheduler:  EmbeddedConfig{Listen: "0.0.0.0:7310", Membership: modeToken},
		Discovery:          DiscoveryConfig{Enabled: true},
		Store:              StoreConfig{Path: "/var/lib/p2pd", Capacity: 20 << 30, KeepFree: Room{Bytes: 1 << 30}},
		Containerd:         defaultContainerd(),
		AllowAllRegistries: true,
		Access:             defaultAccess(),
		Log:                LogConfig{Level: "info", Format: "text"},
	}
}

// DefaultHubConfig is what the scheduler does when nothing is configured.
func DefaultHubConfig() HubConfig {
	return HubConfig{
		Listen:     "0.0.0.0:7310",
		HTTP:       HTTPConfig{Listen: "127.0.0.1:7311"},
		Membership: defaultHubMembership(),
		Log:        LogConfig{Level: "info", Format: "text"},
		Admin:      AdminConfig{Listen: defaultAdmin},
	}
}
