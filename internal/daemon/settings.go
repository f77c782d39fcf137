package daemon

import "github.com/spf13/pflag"

// Every key of a configuration has a flag, and every flag an environment
// variable, by one rule (flagName, envName): mirror.defaultRegistry is
// --mirror-default-registry is P2PD_MIRROR_DEFAULT_REGISTRY. A test holds the
// flags below to it.

// Flags declares a flag for each key. Flags write into c; their defaults are
// what c holds now.
func (c *NodeConfig) Flags(fs *pflag.FlagSet) {
	m, p, s := &c.Mirror, &c.Peer, &c.Store
	text(fs, &m.Listen, "mirror-listen", "where containerd asks for images; on loopback")
	fs.BoolVar(&m.Exposed, "mirror-exposed", m.Exposed, "let mirror.listen be other than loopback, where something else keeps strangers away from it")
	text(fs, &m.DefaultRegistry, "mirror-default-registry", "`host` of the registry that is meant by requests that name none")
	fs.Var(&m.Drain, "mirror-drain", "how long running transfers may take to end at shutdown")
	text(fs, &m.RangeFetch, "mirror-range-fetch", "what a small range of a blob that is not here makes fetched: `pieces` or whole")
	fs.BoolVar(&m.Prefetch, "mirror-prefetch", m.Prefetch, "fetch the layers after one that a client reads from peers, before it asks for them")
	text(fs, &p.Listen, "peer-listen", "where neighbours connect, for what they tell each other")
	text(fs, &p.BulkListen, "peer-bulk-listen", "where neighbours fetch pieces")
	text(fs, &p.Advertise, "peer-advertise", "`host` name or IP address that neighbours are told; empty: this machine's first global one")
	text(fs, &p.KeyFile, "peer-key-file", "`file` with this peer's identity, made on the first start; empty: the file \"key\" in the store's folder")
	fs.BoolVar(&p.BulkTLS, "peer-bulk-tls", p.BulkTLS, "encrypt pieces; off only in networks that are encrypted already, and then on all peers")
	fs.IntVar(&p.UploadSlots, "peer-upload-slots", p.UploadSlots, "pieces served at once; 0: the built-in number")
	c.HTTP.flags(fs)
	text(fs, &c.Scheduler.Address, "scheduler", "`host:port` of the scheduler, or several with commas; empty: peers find each other by discovery")
	fs.BoolVar(&c.EmbeddedScheduler.Enabled, "embedded-scheduler", c.EmbeddedScheduler.Enabled, "run a scheduler in this process")
	text(fs, &c.EmbeddedScheduler.Listen, "embedded-scheduler-listen", "where peers connect to the embedded scheduler")
	text(fs, &c.EmbeddedScheduler.Membership, "embedded-scheduler-membership", "who may join at the embedded scheduler: `token` ('p2pd token' prints one) or open")
	c.Membership.flags(fs)
	c.Discovery.flags(fs)
	text(fs, &s.Path, "store-path", "`folder` for blobs; p2pd alone writes to it")
	fs.Var(&s.Capacity, "store-capacity", "most that blobs may take on the disk")
	fs.Var(&s.KeepFree, "store-keep-free", "what is left free on the disk, an amount or a share such as 10%, even if that means less than the capacity")
	c.Containerd.flags(fs)
	text(fs, &c.Local.Socket, "local-socket", "`file` of the socket for this machine's own commands; empty: p2pd.sock in the store's folder")
	fs.Var(&c.Registries, "registries", "hosts with an endpoint of their own, as HOST=URL,...; those with addresses or local names must be listed")
	fs.BoolVar(&c.AllowAllRegistries, "allow-all-registries", c.AllowAllRegistries, "serve images of every public registry, besides those listed")
	c.Access.flags(fs)
	c.Limits.flags(fs)
	text(fs, &c.Topology.Zone, "topology-zone", "`zone` of this node")
	text(fs, &c.Topology.Rack, "topology-rack", "`rack` of this node")
	c.Log.flags(fs)
	fs.BoolVar(&c.Tracing.Enabled, "tracing", c.Tracing.Enabled, "make traces of pulls, and send them where OpenTelemetry's OTEL_* variables say")
}

// Flags declares a flag for each key. Flags write into c; their defaults are
// what c holds now.
func (c *HubConfig) Flags(fs *pflag.FlagSet) {
	text(fs, &c.Listen, "listen", "where peers connect")
	c.HTTP.flags(fs)
	c.Admin.flags(fs)
	c.Page.flags(fs)
	c.Membership.flags(fs)
	c.Fleet.flags(fs)
	c.Zones.flags(fs)
	c.Preheat.flags(fs)
	fs.Uint64Var(&c.Seed, "seed", c.Seed, "makes choices among equals repeatable; 0 draws one")
	c.Log.flags(fs)
}

func (c *HTTPConfig) flags(fs *pflag.FlagSet) {
	text(fs, &c.Listen, "http-listen", "where /livez, /readyz and /metrics are")
	fs.BoolVar(&c.Pprof, "http-pprof", c.Pprof, "serve /debug/pprof/ there too; on loopback only")
}

func (c *LogConfig) flags(fs *pflag.FlagSet) {
	text(fs, &c.Level, "log-level", "debug, info, warn or error")
	text(fs, &c.Format, "log-format", "text or json")
}

func text(fs *pflag.FlagSet, v *string, name, usage string) { fs.StringVar(v, name, *v, usage) }
