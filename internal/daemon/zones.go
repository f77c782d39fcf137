package daemon

import (
	"context"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/kubernetes"
)

// ZonesConfig is how a scheduler takes zones, and racks in them.
type ZonesConfig struct {
	// OriginNearer has each zone read a blob once from the registry, instead of having
	// it from another zone.
	OriginNearer bool `json:"originNearer"`
	// RackLabel is the label of Kubernetes nodes that names the rack of those that name
	// none themselves; empty: they have none.
	RackLabel string `json:"rackLabel"`
}

func (c *ZonesConfig) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&c.OriginNearer, "zones-origin-nearer", c.OriginNearer, "have each zone read a blob once from the registry, instead of from another zone")
	text(fs, &c.RackLabel, "zones-rack-label", "`label` of Kubernetes nodes that names the rack of those that name none")
}

// racks says in which rack a machine is, out of its node's labels; nil if nobody is to be
// asked.
func (c *ZonesConfig) racks(platform *kubernetes.Client, log *slog.Logger) func(context.Context, string) string {
	if c.RackLabel == "" || platform == nil {
		return nil
	}
	label := c.RackLabel
	return newRacks(func(ctx context.Context, node string) (string, error) { return platform.NodeLabel(ctx, node, label) }, log).of
}

func (p *problems) zones(c ZonesConfig, m HubMembership) {
	if c.RackLabel != "" && m.Mode != modeKubernetes {
		p.add("zones.rackLabel", c.RackLabel, "is a label of Kubernetes nodes; set membership.mode to kubernetes, or topology.rack at the nodes")
	}
}
