package lab

import (
	"context"
	"path/filepath"
	"strings"
)

// PullModes are the containerds that nodes run, in each way that they pull in:
// a distribution's 1.6, the 1.7 line, and the newest one through its transfer
// service, by CRI's own client ("local"), and through the transfer service with
// layers fetched in parallel ranges.
func (p Programs) PullModes(ctx context.Context) ([]PullMode, error) {
	oldest, err := SystemRuntime(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := Tool(ctx, "containerd17")
	if err != nil {
		return nil, err
	}
	older, err := runtimeAt(ctx, dir, dir+":"+systemPath)
	if err != nil {
		return nil, err
	}
	newest, err := p.BuiltRuntime(ctx)
	if err != nil {
		return nil, err
	}
	local := strings.Replace(criConfig2, "use_local_image_pull = false", "use_local_image_pull = true", 1)
	return []PullMode{
		{Name: oldest.Version, Runtime: oldest, config: criConfig1},
		{Name: older.Version, Runtime: older, config: criConfig1},
		{Name: newest.Version + "-transfer", Runtime: newest, config: criConfig2},
		{Name: newest.Version + "-local", Runtime: newest, config: local},
		{Name: newest.Version + "-parallel", Runtime: newest, config: criConfig2 + parallelConfig, Ranges: true},
	}, nil
}

// WithPods is the mode for pods, too, whose sandboxes are of an image. It is for
// containerd 2 and later.
func (m PullMode) WithPods(sandbox string) PullMode {
	const images = "  [plugins.'io.containerd.cri.v1.images']\n"
	m.config = strings.Replace(m.config, images, images+"    pinned_images = {sandbox = '"+sandbox+"'}\n", 1)
	return m
}

// Tool is the folder of what build-tools.sh builds of a module of e2e.
func Tool(ctx context.Context, module string) (string, error) {
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	dir, err := run(ctx, filepath.Join(root, "e2e", "build-tools.sh"), module)
	return strings.TrimSpace(dir), err
}

// Configurations with CRI, but without what only pods need. Versions 1.6 and
// 1.7 read the same file.
const criConfig1 = `version = 2
root = "DIR/root"
state = "DIR/state"
oom_score = 0
[grpc]
  address = "DIR/c.sock"
[debug]
  level = "info"
[plugins."io.containerd.grpc.v1.cri"]
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "DIR/certs.d"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "DIR/cni"
`

const criConfig2 = `version = 4
root = 'DIR/root'
state = 'DIR/state'
oom_score = 0
imports = []
disabled_plugins = ['io.containerd.nri.v1.nri']

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
  [plugins.'io.containerd.cri.v1.images']
    use_local_image_pull = false
    [plugins.'io.containerd.cri.v1.images'.registry]
      config_path = 'DIR/certs.d'
  [plugins.'io.containerd.cri.v1.runtime']
    restrict_oom_score_adj = true
    [plugins.'io.containerd.cri.v1.runtime'.cni]
      conf_dir = 'DIR/cni'
`

// parallelConfig goes to the transfer service: in CRI's own section
// max_concurrent_downloads would make CRI pull by itself. Ranges of 512 KiB are
// smaller than anybody sets, so that small layers have several.
const parallelConfig = `  [plugins.'io.containerd.transfer.v1.local']
    max_concurrent_downloads = 8
    concurrent_layer_fetch_buffer = 524288
`
