package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/daemon"
)

// load reads a node's configuration as the program does.
func load(t *testing.T, file string, env map[string]string, args ...string) (daemon.NodeConfig, error) {
	t.Helper()
	cfg := daemon.DefaultNodeConfig()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	cfg.Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	err := daemon.Load(&cfg, daemon.Sources{File: file, Prefix: "P2PD_", LookupEnv: lookup, Flags: fs})
	return cfg, err
}

func write(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "p2pd.yaml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNothingGivenIsTheDefaults(t *testing.T) {
	got, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(daemon.DefaultNodeConfig(), got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// Each source beats those before it, key by key: defaults, the file, the
// environment, flags.
func TestPrecedence(t *testing.T) {
	file := write(t, `
log: {level: debug, format: json}
mirror: {drain: 1m}
topology: {zone: from-file, rack: from-file}
registries: [{host: from.file}]
allowAllRegistries: false
`)
	env := map[string]string{
		"P2PD_TOPOLOGY_ZONE": "from-env", "P2PD_TOPOLOGY_RACK": "from-env",
		"P2PD_STORE_CAPACITY": "512MB", "P2PD_EMBEDDED_SCHEDULER": "true",
		"P2PD_REGISTRIES": "from.env=http://10.0.0.1:5000,other.env",
	}
	got, err := load(t, file, env, "--topology-rack=from-flag", "--limits-upload=100MiB", "--mirror-drain=30s", "--embedded-scheduler=false")
	if err != nil {
		t.Fatal(err)
	}
	want := daemon.DefaultNodeConfig()
	want.Log = daemon.LogConfig{Level: "debug", Format: "json"}
	want.Mirror.Drain = daemon.Duration(30 * time.Second)
	want.Topology = daemon.TopologyConfig{Zone: "from-env", Rack: "from-flag"}
	want.Store.Capacity = 512e6
	want.Limits.Upload = 100 << 20
	want.AllowAllRegistries = false
	want.Registries = daemon.Registries{{Host: "from.env", Endpoint: "http://10.0.0.1:5000"}, {Host: "other.env"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// A flag that is given its default still beats the file.
func TestAFlagWithItsDefault(t *testing.T) {
	got, err := load(t, write(t, "log: {level: debug}"), nil, "--log-level=info")
	if err != nil || got.Log.Level != "info" {
		t.Errorf("log.level %q, %v", got.Log.Level, err)
	}
}

func TestMalformedSources(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		env        map[string]string
		want       []string
	}{
		{"unknown key", "mirror: {lisen: x}", nil, []string{"p2pd.yaml", `unknown key "lisen"`}},
		{"unknown key at the top", "mirrors: {}", nil, []string{"p2pd.yaml", `unknown key "mirrors"`}},
		{"unknown key in a list", "registries: [{hots: x}]", nil, []string{"p2pd.yaml", `unknown key "hots"`}},
		{"the same key twice", "log: {level: info}\nlog: {level: info}", nil, []string{"p2pd.yaml", `"log"`}},
		{"not YAML", "log: [", nil, []string{"p2pd.yaml", "line 1"}},
		{"wrong type", "peer: {uploadSlots: many}", nil, []string{"p2pd.yaml", "uploadSlots"}},
		{"size", "store: {capacity: 20 GB of disk}", nil, []string{"p2pd.yaml", `"20 GB of disk"`, "write 1048576, 512MB or 20GiB"}},
		{"duration", "mirror: {drain: 20}", nil, []string{"p2pd.yaml", `"20"`, "write 20s or 1m30s"}},
		{"environment", "", map[string]string{"P2PD_STORE_CAPACITY": "-1"}, []string{"P2PD_STORE_CAPACITY", `"-1"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, write(t, tt.file), tt.env)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not have %q", err, want)
				}
			}
		})
	}
	if _, err := load(t, "/does/not/exist.yaml", nil); err == nil || !strings.Contains(err.Error(), "/does/not/exist.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// Each complaint names the key, the value and the way out.
func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		change func(*daemon.NodeConfig)
		want   [3]string
	}{
		{func(c *daemon.NodeConfig) { c.Mirror.Listen = "0.0.0.0:7300" }, [3]string{"mirror.listen", "0.0.0.0:7300", "127.0.0.1:PORT"}},
		{func(c *daemon.NodeConfig) { c.Mirror.Listen = "7300" }, [3]string{"mirror.listen", "7300", "IP:PORT"}},
		{func(c *daemon.NodeConfig) { c.Mirror.DefaultRegistry = "https://docker.io" }, [3]string{"mirror.defaultRegistry", "https://docker.io", "HOST:PORT"}},
		{func(c *daemon.NodeConfig) { c.Mirror.RangeFetch = "some" }, [3]string{"mirror.rangeFetch", "some", "pieces or whole"}},
		{func(c *daemon.NodeConfig) { c.Peer.Listen = "node-1:7301" }, [3]string{"peer.listen", "node-1:7301", "IP:PORT"}},
		{func(c *daemon.NodeConfig) { c.Peer.BulkListen = ":99999" }, [3]string{"peer.bulkListen", ":99999", "IP:PORT"}},
		{func(c *daemon.NodeConfig) { c.Peer.UploadSlots = -1 }, [3]string{"peer.uploadSlots", "-1", "0 for the default"}},
		{func(c *daemon.NodeConfig) { c.HTTP = daemon.HTTPConfig{Listen: "0.0.0.0:1", Pprof: true} }, [3]string{"http.pprof", "true", "127.0.0.1:PORT"}},
		{func(c *daemon.NodeConfig) { c.Scheduler.Address = "scheduler" }, [3]string{"scheduler.address", "scheduler", "HOST:PORT"}},
		{func(c *daemon.NodeConfig) { c.Scheduler.Address = "s:1"; c.EmbeddedScheduler.Enabled = true }, [3]string{"scheduler.address", "s:1", "remove one"}},
		{func(c *daemon.NodeConfig) {
			c.EmbeddedScheduler = daemon.EmbeddedConfig{Enabled: true, Membership: "token", Listen: "x"}
		}, [3]string{"embeddedScheduler.listen", "x", "IP:PORT"}},
		{func(c *daemon.NodeConfig) { c.Store.Path = "" }, [3]string{"store.path", "", "/var/lib/p2pd"}},
		{func(c *daemon.NodeConfig) { c.Store.Capacity = 0 }, [3]string{"store.capacity", "0", "20GiB"}},
		{func(c *daemon.NodeConfig) { c.Registries = daemon.Registries{{Host: "a/b"}} }, [3]string{"registries[0].host", "a/b", "HOST:PORT"}},
		{func(c *daemon.NodeConfig) { c.Registries = daemon.Registries{{Host: "a.b"}, {Host: "A.b"}} }, [3]string{"registries[1].host", "A.b", "remove one"}},
		{func(c *daemon.NodeConfig) { c.Registries = daemon.Registries{{Host: "a.b", Endpoint: "10.0.0.1"}} }, [3]string{"registries[0].endpoint", "10.0.0.1", "http://HOST"}},
		{func(c *daemon.NodeConfig) { c.AllowAllRegistries = false }, [3]string{"allowAllRegistries", "false", "list registries"}},
		{func(c *daemon.NodeConfig) { c.Log.Level = "loud" }, [3]string{"log.level", "loud", "debug, info, warn or error"}},
		{func(c *daemon.NodeConfig) { c.Log.Format = "xml" }, [3]string{"log.format", "xml", "text or json"}},
	} {
		cfg := daemon.DefaultNodeConfig()
		tt.change(&cfg)
		err := cfg.Validate()
		if err == nil {
			t.Errorf("%s %q passes", tt.want[0], tt.want[1])
			continue
		}
		if key, _, _ := strings.Cut(err.Error(), ": "); key != tt.want[0] || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one complaint, about %s, got: %v", tt.want[0], err)
		}
		for _, want := range tt.want[1:] {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("complaint %q does not have %q", err, want)
			}
		}
	}
}

// Labels of Kubernetes nodes are nothing to a scheduler that asks no API server.
func TestARackLabelNeedsKubernetes(t *testing.T) {
	cfg := daemon.DefaultHubConfig()
	cfg.Zones.RackLabel = "topology.example/rack"
	if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), "zones.rackLabel: ") || !strings.Contains(err.Error(), "membership.mode to kubernetes") {
		t.Errorf("in mode %s: %v", cfg.Membership.Mode, err)
	}
	cfg.Membership.Mode, cfg.Membership.ServiceAccounts = "kubernetes", daemon.Names{"p2pd/p2pd"}
	if err := cfg.Validate(); err != nil {
		t.Errorf("in mode kubernetes: %v", err)
	}
}

// All that is wrong is told at once.
func TestValidateTellsAll(t *testing.T) {
	cfg := daemon.DefaultHubConfig()
	cfg.Listen, cfg.HTTP.Listen, cfg.Log.Level = "a", "b", "c"
	err := cfg.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three complaints, got: %v", err)
	}
}

func TestBytes(t *testing.T) {
	for s, want := range map[string]daemon.Bytes{
		"0": 0, "1048576": 1 << 20, "10GiB": 10 << 30, "200MB": 200e6, "1.5 KiB": 1536, "7B": 7, "3TB": 3e12,
	} {
		got, err := daemon.ParseBytes(s)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", s, got, err, want)
		}
		if back, err := daemon.ParseBytes(got.String()); err != nil || back != got {
			t.Errorf("%d is written %s, which reads as %d, %v", got, got, back, err)
		}
	}
	for _, s := range []string{"", "GiB", "-1", "1 PiB", "1e300", "NaN", "ten", "1GiBs"} {
		if got, err := daemon.ParseBytes(s); err == nil {
			t.Errorf("ParseBytes(%q) = %d", s, got)
		}
	}
}
