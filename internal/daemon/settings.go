package daemon

import (
	"fmt"
	"strconv"
	"strings"
)

// Setting is one key of a configuration that flags and the environment can
// set as well. A flag beats the environment, the environment beats the file.
type Setting struct {
	// Flag is the name on the command line; Env derives from it.
	Flag  string
	Usage string
	// Bool settings need no value on the command line.
	Bool bool
	set  func(v string) error
}

// Env is the environment variable of a setting: P2PD_MIRROR_LISTEN for
// --mirror-listen.
func (s Setting) Env(prefix string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_"))
}

// Settings are those of p2pd that c can be given without a file.
func (c *NodeConfig) Settings() []Setting {
	return append([]Setting{
		text("mirror-listen", "where containerd asks, HOST:PORT", &c.Mirror.Listen),
		text("default-registry", "registry of requests that name none with ns=", &c.Mirror.DefaultRegistry),
		text("peer-listen", "where neighbours connect for HAVE and control", &c.Peer.Listen),
		text("bulk-listen", "where neighbours fetch pieces", &c.Peer.BulkListen),
		text("advertise", "address told to neighbours; empty: detected", &c.Peer.Advertise),
		text("http-listen", "where /livez, /readyz and /metrics are", &c.HTTP.Listen),
		text("scheduler", "address of the scheduler, HOST:PORT; empty: none", &c.Scheduler.Address),
		flag("embedded-scheduler", "run a scheduler in this process", &c.EmbeddedScheduler.Enabled),
		text("embedded-scheduler-listen", "where the embedded scheduler listens", &c.EmbeddedScheduler.Listen),
		text("store-path", "folder of the store", &c.Store.Path),
		value("store-capacity", "bytes that the store may use, such as 20GiB", c.Store.Capacity.Set),
		value("upload-limit", "bytes a second sent to neighbours; 0: no limit", c.Limits.Upload.Set),
		value("download-limit", "bytes a second received; 0: no limit", c.Limits.Download.Set),
		text("zone", "zone of this node", &c.Topology.Zone),
		text("rack", "rack of this node", &c.Topology.Rack),
	}, c.Log.settings()...)
}

// Settings are those of the scheduler.
func (c *HubConfig) Settings() []Setting {
	return append([]Setting{
		text("listen", "where peers connect, HOST:PORT", &c.Listen),
		text("http-listen", "where /livez, /readyz and /metrics are", &c.HTTP.Listen),
		value("seed", "makes choices among equals repeatable; 0 draws one", func(v string) (err error) {
			c.Seed, err = strconv.ParseUint(v, 10, 64)
			return err
		}),
	}, c.Log.settings()...)
}

func (c *LogConfig) settings() []Setting {
	return []Setting{
		text("log-level", "debug, info, warn or error", &c.Level),
		text("log-format", "text or json", &c.Format),
	}
}

func text(flag, usage string, to *string) Setting {
	return Setting{Flag: flag, Usage: usage, set: func(v string) error { *to = v; return nil }}
}

func value(flag, usage string, set func(string) error) Setting {
	return Setting{Flag: flag, Usage: usage, set: set}
}

func flag(name, usage string, to *bool) Setting {
	return Setting{Flag: name, Usage: usage, Bool: true, set: func(v string) (err error) {
		*to, err = strconv.ParseBool(v)
		return err
	}}
}

// Apply sets what the environment and then the flags give. env is
// os.LookupEnv; flags are those set on the command line, by name.
func Apply(settings []Setting, prefix string, env func(string) (string, bool), flags map[string]string) error {
	for _, s := range settings {
		if v, ok := env(s.Env(prefix)); ok {
			if err := s.set(v); err != nil {
				return fmt.Errorf("environment %s=%q: %w", s.Env(prefix), v, err)
			}
		}
		if v, ok := flags[s.Flag]; ok {
			if err := s.set(v); err != nil {
				return fmt.Errorf("flag --%s=%q: %w", s.Flag, v, err)
			}
		}
	}
	return nil
}
