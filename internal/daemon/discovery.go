package daemon

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/discovery"
	"github.com/p2pd/p2pd/internal/metrics"
	"github.com/p2pd/p2pd/internal/mirror"
	"github.com/p2pd/p2pd/internal/transport"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// DiscoveryConfig is how peers find each other without a scheduler.
type DiscoveryConfig struct {
	Enabled bool `json:"enabled"`
	// Bootstrap are peers to begin with, besides those known from before and
	// those that a scheduler introduced.
	Bootstrap Names `json:"bootstrap"`
}

func (c *DiscoveryConfig) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.Enabled, "discovery", c.Enabled, "let peers find each other when no scheduler answers")
	fs.Var(&c.Bootstrap, "discovery-bootstrap", "peers to begin with: HOST:PORT of peer.listen, or multiaddrs with /p2p/ID")
}

// discovery checks what is configured.
func (p *problems) discovery(c DiscoveryConfig) {
	for _, b := range c.Bootstrap {
		if err := discovery.CheckBootstrap(b); err != nil {
			p.add("discovery.bootstrap", b, "is no peer: write HOST:PORT, such as p2pd.example:7301, or /ip4/ADDRESS/tcp/PORT/p2p/ID")
		}
	}
}

// newDiscovery makes the directory, or nil if there is to be none.
func (n *Node) newDiscovery() (err error) {
	c := n.cfg.Discovery
	if !c.Enabled {
		return nil
	}
	if n.directory, err = discovery.New(discovery.Config{
		Host: n.net.Host(), Self: n.net.Self(), Bootstrap: c.Bootstrap,
		File: filepath.Join(n.cfg.Store.Path, "peers"), Logger: n.log,
	}); err != nil {
		return fmt.Errorf("discovery.bootstrap: %w", err)
	}
	return nil
}

// guests are what others than the links use the transport's host for.
func (c DiscoveryConfig) guests() transport.Limits {
	if !c.Enabled {
		return transport.Limits{}
	}
	return transport.Limits{Guests: discovery.Protocols()}
}

// library is the gate, and tells the engine of the manifests that go through.
type library struct {
	mirror.Access
	p *peer.Peer
}

// Link implements mirror.Access.
func (l library) Link(host, repo string, manifest piece.Digest, children []piece.Digest) {
	l.Access.Link(host, repo, manifest, children)
	l.p.LearnImage(manifest, children)
}

func (n *Node) discoveryMetrics() []metrics.Metric {
	if n.directory == nil {
		return nil
	}
	p, d := n.peer.Stats(), n.directory.Stats()
	return []metrics.Metric{
		metrics.Gauge("p2pd_discovery_peers", "Peers in the routing table of the directory.", d.Peers),
		metrics.Gauge("p2pd_discovery_records", "Announcements of others that this peer holds.", d.Records),
		metrics.Gauge("p2pd_discovery_images", "Images whose manifests were read here; those that are held are announced.", p.Images),
		metrics.Counter("p2pd_discovery_announcements_total", "Announcements of images, and of downloads that no scheduler took.", p.Announced),
		metrics.Counter("p2pd_discovery_found_total", "Peers that the directory named to downloads.", p.Found),
	}
}
