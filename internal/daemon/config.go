package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// NodeConfig is the configuration of p2pd. docs/p2pd.yaml explains each key.
type NodeConfig struct {
	Mirror            MirrorConfig     `json:"mirror"`
	Peer              PeerConfig       `json:"peer"`
	HTTP              HTTPConfig       `json:"http"`
	Scheduler         SchedulerAddress `json:"scheduler"`
	EmbeddedScheduler EmbeddedConfig   `json:"embeddedScheduler"`
	Store             StoreConfig      `json:"store"`
	// Registries are hosts with an endpoint of their own.
	Registries []RegistryConfig `json:"registries"`
	// AllowAllRegistries admits every public registry besides.
	AllowAllRegistries *bool          `json:"allowAllRegistries"`
	Limits             LimitsConfig   `json:"limits"`
	Topology           TopologyConfig `json:"topology"`
	Log                LogConfig      `json:"log"`
}

// MirrorConfig is containerd's side.
type MirrorConfig struct {
	Listen string `json:"listen"`
	// DefaultRegistry serves requests without an ns parameter.
	DefaultRegistry string   `json:"defaultRegistry"`
	Drain           Duration `json:"drain"`
}

// PeerConfig is the swarm's side.
type PeerConfig struct {
	Listen     string `json:"listen"`
	BulkListen string `json:"bulkListen"`
	Advertise  string `json:"advertise"`
	KeyFile    string `json:"keyFile"`
	// BulkTLS off moves pieces in the clear, where the network is
	// encrypted already.
	BulkTLS     *bool `json:"bulkTLS"`
	UploadSlots int   `json:"uploadSlots"`
}

// HTTPConfig is where health and metrics are served.
type HTTPConfig struct {
	Listen string `json:"listen"`
}

// SchedulerAddress is where the scheduler is; empty: none.
type SchedulerAddress struct {
	Address string `json:"address"`
}

// EmbeddedConfig runs a scheduler in p2pd's own process.
type EmbeddedConfig struct {
	Enabled bool   `json:"enabled"`
	Listen  string `json:"listen"`
}

// StoreConfig is the disk.
type StoreConfig struct {
	Path     string `json:"path"`
	Capacity Bytes  `json:"capacity"`
	KeepFree Bytes  `json:"keepFree"`
}

// RegistryConfig is one upstream registry.
type RegistryConfig struct {
	Host     string `json:"host"`
	Endpoint string `json:"endpoint"`
}

// LimitsConfig bounds bytes a second; 0 is no limit.
type LimitsConfig struct {
	Upload   Bytes `json:"upload"`
	Download Bytes `json:"download"`
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

// HubConfig is the configuration of the scheduler.
type HubConfig struct {
	Listen string     `json:"listen"`
	HTTP   HTTPConfig `json:"http"`
	// Seed makes the choices among equals repeatable; 0 draws one.
	Seed uint64    `json:"seed"`
	Log  LogConfig `json:"log"`
}

// DefaultNodeConfig is what p2pd does when nothing is configured.
func DefaultNodeConfig() NodeConfig {
	yes := true
	return NodeConfig{
		Mirror:             MirrorConfig{Listen: "127.0.0.1:7300", Drain: Duration(20 * time.Second)},
		Peer:               PeerConfig{Listen: "0.0.0.0:7301", BulkListen: "0.0.0.0:7302", BulkTLS: &yes},
		HTTP:               HTTPConfig{Listen: "127.0.0.1:7303"},
		EmbeddedScheduler:  EmbeddedConfig{Listen: "0.0.0.0:7310"},
		Store:              StoreConfig{Path: "/var/lib/p2pd", Capacity: 20 << 30, KeepFree: 1 << 30},
		AllowAllRegistries: &yes,
		Log:                LogConfig{Level: "info", Format: "text"},
	}
}

// DefaultHubConfig is what the scheduler does when nothing is configured.
func DefaultHubConfig() HubConfig {
	return HubConfig{
		Listen: "0.0.0.0:7310",
		HTTP:   HTTPConfig{Listen: "127.0.0.1:7311"},
		Log:    LogConfig{Level: "info", Format: "text"},
	}
}

// Load lays the file's keys over cfg. A key that does not exist is an error,
// so that a typo cannot pass for a setting. An empty path changes nothing.
func Load(path string, cfg any) error {
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(b, cfg); err != nil {
		text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "error unmarshaling JSON: "), "while decoding JSON: ")
		return fmt.Errorf("configuration %s: %s", path, text)
	}
	return nil
}

// Validate says what is wrong with the configuration, all of it at once.
func (c *NodeConfig) Validate() error {
	var errs []error
	addr := func(key, v string) { errs = append(errs, checkAddress(key, v)) }
	addr("mirror.listen", c.Mirror.Listen)
	addr("peer.listen", c.Peer.Listen)
	addr("peer.bulkListen", c.Peer.BulkListen)
	addr("http.listen", c.HTTP.Listen)
	if c.Scheduler.Address != "" {
		addr("scheduler.address", c.Scheduler.Address)
	}
	if c.EmbeddedScheduler.Enabled {
		addr("embeddedScheduler.listen", c.EmbeddedScheduler.Listen)
		if c.Scheduler.Address != "" {
			errs = append(errs, errors.New("scheduler.address and embeddedScheduler.enabled exclude each other: remove one"))
		}
	}
	if c.Store.Path == "" {
		errs = append(errs, errors.New("store.path is empty: name a folder that p2pd may write to"))
	}
	if c.Store.Capacity < 0 || c.Store.KeepFree < 0 || c.Limits.Upload < 0 || c.Limits.Download < 0 {
		errs = append(errs, errors.New("store.capacity, store.keepFree, limits.upload and limits.download must not be negative"))
	}
	for i, r := range c.Registries {
		if r.Host == "" {
			errs = append(errs, fmt.Errorf("registries[%d].host is empty: name the registry as images do, for instance registry.example:5000", i))
		}
	}
	errs = append(errs, c.Log.validate())
	return errors.Join(errs...)
}

// Validate says what is wrong with the configuration.
func (c *HubConfig) Validate() error {
	return errors.Join(checkAddress("listen", c.Listen), checkAddress("http.listen", c.HTTP.Listen), c.Log.validate())
}

func checkAddress(key, v string) error {
	if _, _, err := net.SplitHostPort(v); err != nil {
		return fmt.Errorf("%s %q must be HOST:PORT, for instance 127.0.0.1:7300", key, v)
	}
	return nil
}
