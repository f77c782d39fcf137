package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// Runtime is an installed containerd.
type Runtime struct {
	Version string // "1.6", "2.4"
	Daemon  string
	Ctr     string
	// Path is its $PATH: each version must find its own shim, and no other.
	Path string
}

// systemPath is where runc and mount are.
const systemPath = "/usr/sbin:/usr/bin:/sbin:/bin"

// BuiltRuntime is the containerd of e2e/tools.
func (p Programs) BuiltRuntime(ctx context.Context) (Runtime, error) {
	return runtimeAt(ctx, p.Tools, p.Tools+":"+systemPath)
}

// SystemRuntime is the distribution's containerd.
func SystemRuntime(ctx context.Context) (Runtime, error) {
	return runtimeAt(ctx, "/usr/bin", systemPath)
}

func runtimeAt(ctx context.Context, dir, path string) (Runtime, error) {
	r := Runtime{Daemon: filepath.Join(dir, "containerd"), Ctr: filepath.Join(dir, "ctr"), Path: path}
	out, err := run(ctx, r.Daemon, "--version")
	if err != nil {
		return r, err
	}
	// "containerd github.com/... 1.6.20~ds1 1.6.20~ds1-1+deb12u3"
	fields := strings.Fields(out)
	if len(fields) < 3 {
		return r, fmt.Errorf("unexpected version of containerd: %q", out)
	}
	parts := strings.SplitN(strings.TrimPrefix(fields[2], "v"), ".", 3)
	if len(parts) < 3 {
		return r, fmt.Errorf("unexpected version of containerd: %q", out)
	}
	r.Version = parts[0] + "." + parts[1]
	return r, nil
}

// config is a configuration file for daemons of this version below dir: no
// CRI network, no plugins that a laboratory lacks. oom_score and
// restrict_oom_score_adj let it run without CAP_SYS_RESOURCE.
func (r Runtime) config(dir string) string {
	text := config1
	if !strings.HasPrefix(r.Version, "1.") {
		text = config2
	}
	return strings.ReplaceAll(text, "DIR", dir)
}

const config1 = `version = 2
root = "DIR/root"
state = "DIR/state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "DIR/c.sock"
[debug]
  level = "info"
`

const config2 = `version = 4
root = 'DIR/root'
state = 'DIR/state'
oom_score = 0
imports = []
disabled_plugins = ['io.containerd.nri.v1.nri', 'io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime']

[plugins]
  [plugins.'io.containerd.server.v1.grpc']
    address = 'DIR/c.sock'
  [plugins.'io.containerd.server.v1.ttrpc']
    address = 'DIR/c.sock.ttrpc'
  [plugins.'io.containerd.server.v1.debug']
    address = ''
    level = 'info'
  [plugins.'io.containerd.server.v1.metrics']
    address = ''
`
