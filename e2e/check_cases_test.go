package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// misconfigurations are in the order of the table in docs/checks.md.
func misconfigurations() []misconfiguration {
	return append(append(append(containerdFaults(), nodeFaults()...), schedulerFaults()...), registryFaults()...)
}

// containerdFaults are in the configuration of containerd.
func containerdFaults() []misconfiguration {
	const configPath = "config_path = 'DIR/certs.d'"
	inConfig := func(old, instead string) func(*testing.T, *ward) func() {
		return func(t *testing.T, w *ward) func() {
			t.Helper()
			dir := strings.TrimSuffix(w.containerd.HostsDir(), "/certs.d")
			fill := strings.NewReplacer("DIR", dir, "HOST", w.host)
			change := func(old, instead string) {
				t.Helper()
				if err := w.Reconfigure(w.ctx, w.containerd, func(config string) string {
					return strings.Replace(config, fill.Replace(old), fill.Replace(instead), 1)
				}); err != nil {
					t.Fatal(err)
				}
			}
			change(old, instead)
			return func() { change("", "") }
		}
	}
	inHosts := func(registry string, text func(*ward) string) func(*testing.T, *ward) func() {
		return func(t *testing.T, w *ward) func() {
			folder := strings.ReplaceAll(registry, "HOST", w.host)
			return w.write(t, w.containerd.HostsDir()+"/"+folder+"/hosts.toml", text(w))
		}
	}
	straight := func(w *ward) string {
		return "[host.\"" + w.Registry.Endpoint + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
	}
	const pull = "cri-pull"
	return []misconfiguration{
		{
			name: "no config_path", spoil: inConfig(configPath, ""),
			check: "config-path", result: "error", says: []string{"sets no config_path", "restart containerd"}, follows: []string{pull},
		},
		{
			name: "mirrors the older way", spoil: inConfig(configPath, "[plugins.'io.containerd.cri.v1.images'.registry.mirrors.'HOST']\n endpoint = ['http://HOST']"),
			check: "config-path", result: "error", says: []string{"registry.mirrors", "remove them"}, follows: []string{pull},
		},
		{
			name: "config_path with two folders", spoil: inConfig(configPath, "config_path = 'DIR/certs.d:/etc/docker/certs.d'"),
			check: "config-path", result: "error", says: []string{"2 folders", "name one"}, follows: []string{pull},
		},
		{
			name: "config_path, without containerd started again", spoil: func(t *testing.T, w *ward) func() {
				t.Helper()
				text, err := os.ReadFile(w.containerd.Config())
				if err != nil {
					t.Fatal(err)
				}
				heal := inConfig(configPath, "")(t, w)
				w.write(t, w.containerd.Config(), string(text))
				later := time.Now().Add(time.Second) // containerd has only just been started
				if err := os.Chtimes(w.containerd.Config(), later, later); err != nil {
					t.Fatal(err)
				}
				return heal
			},
			check: "config-loaded", result: "warning", says: []string{"config.toml was changed", "until containerd is restarted"}, follows: []string{pull},
		},
		{
			name: "a folder of the registry's own hides _default", spoil: inHosts("HOST", straight),
			check: "hosts-toml", result: "error", says: []string{"hides _default", "p2pd setup --registry"}, follows: []string{pull},
		},
		{
			name: "p2pd's lines are gone", spoil: inHosts("_default", straight),
			check: "hosts-toml", result: "error", says: []string{"does not name http://127.0.0.1:7300", "run p2pd setup"}, follows: []string{pull},
		},
		{
			name: "hosts.toml is no TOML", spoil: inHosts("_default", func(w *ward) string { return strings.Replace(w.hosts(""), "]", "", 1) }),
			check: "hosts-toml", result: "error", says: []string{"is not TOML", "containerd ignores it"}, follows: []string{pull},
		},
		{
			name: "another is asked before p2pd", spoil: inHosts("_default", func(w *ward) string { return straight(w) + w.hosts("") }),
			check: "hosts-toml", result: "error", says: []string{"asked before p2pd", "put p2pd's table first"}, follows: []string{pull},
		},
		{
			name: "a capability that this containerd does not know",
			spoil: func(t *testing.T, w *ward) func() {
				return w.write(t, w.older.HostsDir()+"/_default/hosts.toml", w.hosts(`, "referrers"`))
			},
			look: func(w *ward) []string {
				return []string{"--containerd-config", w.older.Config(), "--cri-socket", w.older.Socket(), "--start=false"}
			},
			check: "hosts-toml", result: "error", says: []string{"since 2.2", "1.7", "ignores the whole file"},
		},
	}
}

// nodeFaults are p2pd's own.
func nodeFaults() []misconfiguration {
	return []misconfiguration{
		{
			name: "p2pd is dead",
			spoil: func(t *testing.T, w *ward) func() {
				w.nodes[0].Kill()
				return func() { w.startNode(t, 0) }
			},
			check: "p2pd-answers", result: "error", says: []string{"p2pd does not answer", "is p2pd running"}, follows: []string{"cri-pull"},
		},
		{
			name: "another program has p2pd's port", spoil: takePort,
			check: "mirror-answers", result: "error", says: []string{"http://127.0.0.1:7300", `"nginx"`, "mirror.listen"}, follows: []string{"p2pd-answers", "cri-pull"},
		},
		{
			name: "no room in the store",
			spoil: func(t *testing.T, w *ward) func() {
				heal := w.restartNode(t, "P2PD_STORE_KEEP_FREE=1000TiB")
				w.waitConnected(t)
				return heal
			},
			check: "store-room", result: "error", says: []string{"store.keepFree", "store.path"},
		},
		{
			name: "p2pctl of another version", spoil: func(*testing.T, *ward) func() { return func() {} }, other: true,
			check: "versions", result: "warning", says: []string{"p2pctl v"}, follows: []string{"scheduler-answers"},
		},
		{
			name: "nodes do not reach each other", spoil: closePorts,
			look:  func(w *ward) []string { return append(image("far")(w), "--start=false") },
			check: "peers-give", result: "warning", says: []string{"peers have the layer", "had nothing from anybody", "7301 and 7302", "NetworkPolicy"},
		},
	}
}

// schedulerFaults are between p2pd and its scheduler.
func schedulerFaults() []misconfiguration {
	const connected = "scheduler-connected"
	follows := []string{"peer-state", "scheduler-answers"}
	return []misconfiguration{
		{
			name: "the scheduler is dead",
			spoil: func(t *testing.T, w *ward) func() {
				w.scheduler.Kill()
				w.waitTrouble(t)
				return func() { w.startScheduler(t); w.waitConnected(t) }
			},
			check: connected, result: "warning", says: []string{"nothing listens there", "10.77.254.1:7310"}, follows: follows,
		},
		{
			name:  "the scheduler's address is another one's",
			spoil: func(t *testing.T, w *ward) func() { return w.restartNode(t, "P2PD_SCHEDULER=10.77.9.9:7310") },
			check: connected, result: "warning", says: []string{"nothing answers there", "10.77.9.9:7310"}, follows: follows,
		},
		{
			name: "a token of another cluster",
			spoil: func(t *testing.T, w *ward) func() {
				return w.restartNode(t, "P2PD_MEMBERSHIP_TOKEN_FILE="+file(t)(w.ForeignToken()))
			},
			check: connected, result: "warning", says: []string{"does not have the cluster's key"}, follows: follows,
		},
		{
			name: "the join token has expired",
			spoil: func(t *testing.T, w *ward) func() {
				w.forgetCredential(t)
				return w.restartNode(t, "P2PD_MEMBERSHIP_TOKEN_FILE="+file(t)(w.ExpiredToken()))
			},
			check: connected, result: "warning", says: []string{"token has expired", "'scheduler token' prints a new one"}, follows: follows,
		},
		{
			name: "the peer is banned", spoil: ban,
			check: "peer-state", result: "error", says: []string{"banned until", "its disk is broken"}, follows: []string{connected}, // its stream ends
		},
	}
}

// registryFaults are between the node and the registry, and in the image.
func registryFaults() []misconfiguration {
	none := func(*testing.T, *ward) func() { return func() {} }
	secure := func(w *ward) []string {
		return []string{"--image", strings.TrimPrefix(w.secure.Endpoint, "https://") + "/app:1", "--insecure=false"}
	}
	trusting := func(w *ward) []string { return []string{"SSL_CERT_FILE=" + w.secure.CAFile} }
	follows := []string{"pull-manifest", "cri-pull"}
	return []misconfiguration{
		{
			name:  "a firewall before the registry",
			spoil: func(t *testing.T, w *ward) func() { return w.reject(t, w.Net.Origin.Addr.String()) },
			check: "registry", result: "error", says: []string{"cannot be reached from this node", "no route to host"}, follows: follows,
		},
		{
			name: "no such image", spoil: none, look: image("nothing"),
			check: "registry", result: "error", says: []string{"has no 10.77.255.1:5000/nothing:1", "is the name right?"}, follows: follows,
		},
		{
			name: "the node does not trust the registry's certificate", spoil: none, look: secure,
			check: "registry", result: "error", says: []string{"signed by an authority that this node does not trust"}, follows: follows,
		},
		{
			name: "no password", spoil: none, look: secure, env: trusting,
			check: "registry", result: "error", says: []string{"refuses these credentials (401)", "docker login"}, follows: follows,
		},
		{
			name: "p2pd does not trust the registry's certificate", spoil: logIn, look: secure, env: trusting,
			check: "pull-manifest", result: "error", says: []string{"registries[].tls.caFile"}, follows: []string{"cri-pull"},
		},
		{
			name:  "the registry has lost a layer",
			spoil: func(t *testing.T, w *ward) func() { return w.loseLayers(t) }, look: image("lost"),
			check: "pull-layer", result: "error", says: []string{"has the manifest of 10.77.255.1:5000/lost:1, and not its layer", "push the image again"}, follows: []string{"cri-pull"},
		},
		{
			name: "the container ends at once", spoil: none, look: image("broken"),
			check: "cri-start", result: "error", says: []string{"it ended with 3"},
		},
	}
}

func image(name string) func(*ward) []string {
	return func(w *ward) []string { return []string{"--image", w.host + "/" + name + ":1"} }
}
