package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/containerd"
	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/internal/metrics"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// ContainerdConfig is where the node's containerd keeps content, which peers
// are served from as well.
type ContainerdConfig struct {
	// Socket is where containerd listens; empty: its content is not used.
	Socket string `json:"socket"`
	// Root is containerd's own root.
	Root string `json:"root"`
	// Namespaces are those whose content is offered; "*" is all.
	Namespaces Names `json:"namespaces"`
	// CRISocket is where the node's container runtime answers over CRI, to pull
	// what is preheated into it; empty: that is not done.
	CRISocket string `json:"criSocket"`
}

// Names are a list, written NAME,... as a flag.
type Names []string

// String implements pflag.Value.
func (n Names) String() string { return strings.Join(n, ",") }

// Set implements pflag.Value.
func (n *Names) Set(s string) error {
	*n = nil
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name != "" {
			*n = append(*n, name)
		}
	}
	return nil
}

// Type implements pflag.Value.
func (*Names) Type() string { return "names" }

func defaultContainerd() ContainerdConfig {
	return ContainerdConfig{
		Socket: containerd.DefaultSocket, Root: containerd.DefaultRoot, Namespaces: Names{"k8s.io"},
	}
}

func (c *ContainerdConfig) flags(fs *pflag.FlagSet) {
	text(fs, &c.Socket, "containerd-socket", "`file` where containerd listens, to serve peers from what it holds; empty: not done")
	text(fs, &c.Root, "containerd-root", "`folder` that is containerd's root; p2pd only reads there")
	fs.Var(&c.Namespaces, "containerd-namespaces", "containerd's namespaces whose content is served to peers; *: all")
	text(fs, &c.CRISocket, "containerd-cri-socket", "`file` where containerd answers over CRI, to pull what is preheated into it; empty: not done")
}

// containerd checks what is configured.
func (p *problems) containerd(c ContainerdConfig) {
	if c.CRISocket != "" && !filepath.IsAbs(c.CRISocket) {
		p.add("containerd.criSocket", c.CRISocket, "is not where a socket can be; write an absolute path such as "+containerd.DefaultSocket+", or nothing")
	}
	if c.Socket == "" {
		return
	}
	if !filepath.IsAbs(c.Socket) {
		p.add("containerd.socket", c.Socket, "is not where a socket can be; write an absolute path such as "+containerd.DefaultSocket+", or nothing")
	}
	if !filepath.IsAbs(c.Root) {
		p.add("containerd.root", c.Root, "names no folder; write an absolute path such as "+containerd.DefaultRoot)
	}
	if len(c.Namespaces) == 0 || slices.Contains(c.Namespaces, "") {
		p.add("containerd.namespaces", c.Namespaces, `names none; write k8s.io, or "*" for all`)
	}
}

// holdings is all that the engine can open: the store, and what containerd
// holds if that is wanted.
func (n *Node) holdings() peer.Store {
	c := n.cfg.Containerd
	if c.Socket == "" {
		return n.store
	}
	n.content = containerd.New(containerd.Config{
		Socket: c.Socket, Root: c.Root, Namespaces: c.Namespaces, Damaged: n.damagedInContainerd, Logger: n.log,
	})
	return containerd.NewStore(n.store, n.content)
}

// damagedInContainerd notes a file of containerd's that is not what its name says, so
// that p2pctl explain and incident ls tell of it. p2pd does not offer the file, and
// cannot mend it: it is containerd's.
func (n *Node) damagedInContainerd(d piece.Digest, err error) {
	what := err.Error()
	if _, is := errors.AsType[*piece.MismatchError](err); is {
		what = "its bytes have another digest"
	}
	n.journal.Note(d.String(), time.Now(), journal.False, fmt.Sprintf(
		"containerd's own copy is damaged: %s. It is not given to other nodes. Remove the images that use it (crictl rmi), pull them again, and check this node's disk", what))
}

// followContainerd is the part that keeps up with containerd, if there is one.
func (n *Node) followContainerd() []part {
	if n.content == nil {
		return nil
	}
	return []part{{"containerd's content", func(ctx context.Context) error { return n.content.Run(ctx, n.peer, n.store) }}}
}

// contentMetrics are of what containerd holds.
func (n *Node) contentMetrics() []metrics.Metric {
	if n.content == nil {
		return nil
	}
	s := n.content.Stats()
	connected := 0
	if s.Connected {
		connected = 1
	}
	return []metrics.Metric{
		metrics.Gauge("p2pd_containerd_connected", "1 while containerd's events are followed.", connected),
		metrics.Gauge("p2pd_containerd_blobs", "Blobs of containerd's that were verified and are offered to peers.", s.Blobs),
		metrics.Gauge("p2pd_containerd_bytes", "Bytes of those.", s.Bytes),
		metrics.Gauge("p2pd_containerd_refused_blobs", "Blobs of containerd's that are not what their digest promises.", s.Refused),
	}
}
