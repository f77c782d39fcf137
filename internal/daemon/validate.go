package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/p2pd/p2pd/internal/mirror"
)

// problems collects what is wrong with a configuration, so that an operator
// learns all of it at once.
type problems []error

// add says what key is wrong, its value, and what would be right.
func (p *problems) add(key string, value any, wayOut string) {
	*p = append(*p, fmt.Errorf("%s: %q %s", key, fmt.Sprint(value), wayOut))
}

func (p problems) err() error { return errors.Join(p...) }

// Validate says what is wrong with the configuration, all of it at once. It
// opens nothing.
func (c *NodeConfig) Validate() error {
	var p problems
	if p.listen("mirror.listen", c.Mirror.Listen) && !c.Mirror.Exposed && !loopback(c.Mirror.Listen) {
		p.add("mirror.listen", c.Mirror.Listen, "is open to others, and the mirror asks nobody who they are; use 127.0.0.1:PORT or [::1]:PORT, or mirror.exposed where something else keeps strangers away")
	}
	if v := c.Mirror.DefaultRegistry; strings.ContainsAny(v, "/@? ") {
		p.add("mirror.defaultRegistry", v, "is not a registry host; write HOST or HOST:PORT, or nothing")
	}
	if _, err := mirror.ParseRangeFetch(c.Mirror.RangeFetch); err != nil {
		p.add("mirror.rangeFetch", c.Mirror.RangeFetch, "is not a policy; use pieces or whole")
	}
	p.listen("peer.listen", c.Peer.Listen)
	p.listen("peer.bulkListen", c.Peer.BulkListen)
	if c.Peer.UploadSlots < 0 {
		p.add("peer.uploadSlots", c.Peer.UploadSlots, "is negative; use 1 or more, or 0 for the default")
	}
	p.http(c.HTTP)
	p.scheduler(c.Scheduler, c.EmbeddedScheduler)
	p.membership(c)
	p.discovery(c.Discovery)
	if c.Store.Path == "" {
		p.add("store.path", "", "names no folder; use one that p2pd alone writes to, such as /var/lib/p2pd")
	}
	if c.Store.Capacity <= 0 {
		p.add("store.capacity", c.Store.Capacity, "holds nothing; write an amount such as 20GiB")
	}
	p.containerd(c.Containerd)
	p.local(*c)
	p.registries("registries", c.Registries)
	if len(c.Registries) == 0 && !c.AllowAllRegistries {
		p.add("allowAllRegistries", c.AllowAllRegistries, "with no registries leaves nothing to pull from; list registries or allow all")
	}
	p.limits(c.Limits)
	p.access(c.Access)
	p.log(c.Log)
	return p.err()
}

// Validate says what is wrong with the configuration, all of it at once. It
// opens nothing.
func (c *HubConfig) Validate() error {
	var p problems
	p.listen("listen", c.Listen)
	p.http(c.HTTP)
	p.admin(c.Admin)
	p.page(c.Page)
	p.hubMembership(c.Membership)
	p.fleet(c.Fleet, c.Membership)
	p.zones(c.Zones, c.Membership)
	p.preheat(c.Preheat, c.Membership)
	p.log(c.Log)
	return p.err()
}

// listen checks an address to listen at and reports whether it is one.
func (p *problems) listen(key, v string) bool {
	host, port, err := net.SplitHostPort(v)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		p.add(key, v, "is not an address to listen at; write IP:PORT, such as 0.0.0.0:7301, or :PORT for all addresses")
	}
	return err == nil
}

func loopback(v string) bool {
	a, err := netip.ParseAddrPort(v)
	return err == nil && a.Addr().IsLoopback()
}

func (p *problems) http(c HTTPConfig) {
	if p.listen("http.listen", c.Listen) && c.Pprof && !loopback(c.Listen) {
		p.add("http.pprof", c.Pprof, "would show memory to others at "+c.Listen+"; turn it off, or set http.listen to 127.0.0.1:PORT")
	}
}

func (p *problems) scheduler(c SchedulerAddress, e EmbeddedConfig) {
	if a := c.bad(); a != "" {
		p.add("scheduler.address", a, "is not where a scheduler can be; write HOST:PORT, such as scheduler.example:7310, or several with commas")
	}
	if !e.Enabled {
		return
	}
	p.listen("embeddedScheduler.listen", e.Listen)
	if c.Address != "" {
		p.add("scheduler.address", c.Address, "and embeddedScheduler.enabled exclude each other; remove one")
	}
}

func (p *problems) log(c LogConfig) {
	if err := new(slog.Level).UnmarshalText([]byte(c.Level)); err != nil {
		p.add("log.level", c.Level, "is not a level; use debug, info, warn or error")
	}
	if c.Format != "text" && c.Format != "json" {
		p.add("log.format", c.Format, "is not a format; use text or json")
	}
}
