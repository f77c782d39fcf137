package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/cluster"
)

// handOver is how long a scheduler that stops goes on after it has said so:
// peers take their swarms to the others meanwhile.
const handOver = 2 * time.Second

// FleetConfig is how several schedulers share the swarms of one cluster.
type FleetConfig struct {
	// Listen is where the others reach this one, for gossip; empty: it is alone.
	Listen string `json:"listen"`
	// Seeds are others to begin with.
	Seeds Names `json:"seeds"`
	// Advertise is HOST:PORT where peers reach this scheduler. It names it.
	Advertise string `json:"advertise"`
}

func (c *FleetConfig) flags(fs *pflag.FlagSet) {
	text(fs, &c.Listen, "fleet-listen", "IP:PORT for gossip with the cluster's other schedulers; empty: there are none")
	fs.Var(&c.Seeds, "fleet-seeds", "HOST:PORT of other schedulers' fleet.listen; a name may stand for several")
	text(fs, &c.Advertise, "fleet-advertise", "`HOST:PORT` where peers reach this scheduler; it should stay the same when it is started again")
}

// fleet checks what is configured.
func (p *problems) fleet(c FleetConfig, m HubMembership) {
	if c.Listen == "" {
		if c.Advertise != "" || len(c.Seeds) > 0 {
			p.add("fleet.listen", "", "must be set where fleet.seeds or fleet.advertise is; use 0.0.0.0:7312")
		}
		return
	}
	p.listen("fleet.listen", c.Listen)
	if m.Mode == modeOpen {
		p.add("fleet.listen", c.Listen, "needs the cluster's key, with which schedulers encrypt what they tell each other; set membership.mode to token or kubernetes")
	}
	if err := cluster.CheckSeed(c.Advertise); err != nil {
		p.add("fleet.advertise", c.Advertise, "is not where peers can reach this scheduler; write HOST:PORT, such as scheduler-0.example:7310")
	}
	for _, s := range c.Seeds {
		if err := cluster.CheckSeed(s); err != nil {
			p.add("fleet.seeds", s, "is not where a scheduler can be; write HOST:PORT, such as scheduler-0.example:7312")
		}
	}
}

// newFleet opens the way to the other schedulers; nil if there are none.
func (h *Hub) newFleet() (err error) {
	c := h.cfg.Fleet
	if c.Listen == "" {
		return nil
	}
	h.fleet, err = cluster.New(cluster.Config{
		Name: c.Advertise, Listen: c.Listen, Seeds: c.Seeds, Key: h.key.GossipKey(), News: h.news, Heard: h.heard, Logger: h.log,
	})
	if err != nil {
		return fmt.Errorf("fleet.listen: %w", err)
	}
	return nil
}

// withOthers tells peers which schedulers are up until ctx ends. Then it has
// them take their swarms to the others.
func (h *Hub) withOthers(ctx context.Context) error {
	var last []string
	err := h.fleet.Run(ctx, func(names []string) {
		last = names
		h.desk.SetRoster(names)
		h.server.SetRoster(names, "these schedulers are up")
	})
	rest := slices.DeleteFunc(slices.Clone(last), func(n string) bool { return n == h.cfg.Fleet.Advertise })
	if len(rest) > 0 {
		h.server.SetRoster(rest, "this scheduler stops")
		time.Sleep(handOver)
	}
	return err
}

// schedulers is how many this node knows to be up.
func (n *Node) schedulers() int {
	if n.client == nil {
		return 0
	}
	return n.client.Schedulers()
}

// doors are the addresses in scheduler.address.
func (c SchedulerAddress) doors() []string {
	var all []string
	for a := range strings.SplitSeq(c.Address, ",") {
		if a = strings.TrimSpace(a); a != "" {
			all = append(all, a)
		}
	}
	return all
}

// bad is one of the addresses that is none; empty: all are good.
func (c SchedulerAddress) bad() string {
	for _, a := range c.doors() {
		if cluster.CheckSeed(a) != nil {
			return a
		}
	}
	if c.Address != "" && len(c.doors()) == 0 {
		return c.Address
	}
	return ""
}
