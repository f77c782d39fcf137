package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/internal/metrics"
	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/internal/transport"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// MembershipConfig is how a node joins a closed cluster. Without a TokenFile the
// cluster is open.
type MembershipConfig struct {
	// TokenFile has a join token, or the platform's. It is read anew whenever
	// a credential is asked for.
	TokenFile string `json:"tokenFile"`
	// ClusterKeyFile has the cluster's public key, which join tokens bring
	// with them.
	ClusterKeyFile string `json:"clusterKeyFile"`
	// Strict has this node give nothing to peers without a ticket for it, and show its
	// own. All nodes of a cluster and its schedulers should agree on it.
	Strict bool `json:"strict"`
	// Node is the machine's name; empty: its host name.
	Node string `json:"node"`
}

func (c *MembershipConfig) flags(fs *pflag.FlagSet) {
	text(fs, &c.TokenFile, "membership-token-file", "`file` with a join token ('scheduler token' prints one) or a service account's; empty: the cluster is open to everybody")
	text(fs, &c.ClusterKeyFile, "membership-cluster-key-file", "`file` with the cluster's public key or certificate, for tokens that do not bring it; join tokens do")
	fs.BoolVar(&c.Strict, "membership-strict", c.Strict, "give pieces, and word of them, only to peers that a scheduler gave a ticket for the blob; all nodes and schedulers of the cluster must be set so")
	text(fs, &c.Node, "membership-node", "`name` of this machine; empty: its host name")
}

// membership checks what is configured.
func (p *problems) membership(c *NodeConfig) {
	m := c.Membership
	if c.closed() && !c.Peer.BulkTLS {
		p.add("peer.bulkTLS", false, "would give pieces to everybody: peers cannot prove there that they are members; turn it on, or take membership.tokenFile away")
	}
	if m.Strict && !c.closed() {
		p.add("membership.strict", true, "needs a cluster whose peers prove who they are; set membership.tokenFile")
	}
	if m.ClusterKeyFile != "" && m.TokenFile == "" {
		p.add("membership.clusterKeyFile", m.ClusterKeyFile, "is of no use without membership.tokenFile")
	}
	if e := c.EmbeddedScheduler; e.Enabled && m.TokenFile != "" {
		p.add("membership.tokenFile", m.TokenFile, "is of no use with embeddedScheduler.enabled: this node makes its cluster's tokens; remove it")
	}
	if e := c.EmbeddedScheduler.Membership; e != modeToken && e != modeOpen {
		p.add("embeddedScheduler.membership", e, "is no mode; use token or open")
	}
}

// closed reports whether this node belongs to a closed cluster.
func (c *NodeConfig) closed() bool {
	return c.Membership.TokenFile != "" || c.EmbeddedScheduler.Enabled && c.EmbeddedScheduler.Membership != modeOpen
}

// clusterKeyHere is where an embedded scheduler keeps the cluster's key.
func (c *NodeConfig) clusterKeyHere() string { return filepath.Join(c.Store.Path, "cluster.key") }

// papers are what a node joins and proves itself with; nil in an open cluster.
type papers struct {
	cluster member.Public
	pass    *member.Pass
	tickets *member.Tickets // nil unless the node is strict
	token   func() (string, error)
	node    string
}

// newPapers opens them for the peer of that ID.
func newPapers(c NodeConfig, id string) (p *papers, err error) {
	if !c.closed() {
		return nil, nil
	}
	p = &papers{node: c.Membership.Node}
	if p.node == "" {
		if p.node, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("membership.node: %w", err)
		}
	}
	if c.EmbeddedScheduler.Enabled {
		err = p.issueHere(c.clusterKeyHere())
	} else {
		err = p.readHere(c.Membership)
	}
	if err != nil {
		return nil, err
	}
	if c.Membership.Strict {
		p.tickets = member.NewTickets(p.cluster, id)
	}
	p.pass, err = member.OpenPass(p.cluster, id, filepath.Join(c.Store.Path, "credential"))
	return p, err
}

// issueHere is for the node that has the cluster's scheduler in it.
func (p *papers) issueHere(file string) error {
	key, _, err := member.OpenKey(file)
	if err != nil {
		return fmt.Errorf("embeddedScheduler: %w", err)
	}
	p.cluster = key.Public()
	p.token = func() (string, error) {
		t, err := key.Mint(time.Now().Add(time.Minute))
		return t.Reveal(), err
	}
	return nil
}

// readHere is for all other nodes.
func (p *papers) readHere(c MembershipConfig) (err error) {
	p.token = func() (string, error) { return member.ReadToken(c.TokenFile) }
	if c.ClusterKeyFile != "" {
		if p.cluster, err = member.ReadPublic(c.ClusterKeyFile); err != nil {
			return fmt.Errorf("membership.clusterKeyFile: %w", err)
		}
		return nil
	}
	text, err := p.token()
	if err != nil {
		return fmt.Errorf("membership.tokenFile: %w", err)
	}
	if !member.IsToken(text) {
		return fmt.Errorf("membership.tokenFile: %s has no join token, and other tokens do not say whose cluster they are for; name the cluster's public key in membership.clusterKeyFile", c.TokenFile)
	}
	t, err := member.ParseToken(text)
	if err != nil {
		return fmt.Errorf("membership.tokenFile: %s: %w", c.TokenFile, err)
	}
	p.cluster = t.Cluster
	return nil
}

// forTransport is what the transport asks about others; nil for everybody.
func (p *papers) forTransport() transport.Members {
	if p == nil {
		return nil // not a nil in an interface
	}
	return p.pass
}

// forSwarms are the tickets that the engine and the transport want and show; nil where they want
// none.
func (p *papers) forSwarms() peer.Tickets {
	if p == nil || p.tickets == nil {
		return nil // not a nil in an interface
	}
	return p.tickets
}

// shun is what a node does about a peer that an operator has banned; nil in an
// open cluster, where a peer would come back by another name.
func (p *papers) shun(log *slog.Logger) func(scheduler.Shun) {
	if p == nil {
		return nil
	}
	return func(s scheduler.Shun) {
		now := time.Now()
		word := member.Ban{Peer: string(s.Peer), At: s.At, Reason: s.Reason}
		if word.At.IsZero() {
			word.At = now // of a scheduler that does not say
		}
		if s.For > 0 {
			word.Until = now.Add(s.For)
		}
		if err := p.pass.Ban(word); err != nil {
			log.Warn("a ban is not heeded", "peer", s.Peer, "err", err)
		}
	}
}

// forScheduler is what the scheduler's client proves itself with.
func (p *papers) forScheduler(t *transport.Transport, zone string) (*rpc.Membership, error) {
	if p == nil {
		return nil, nil
	}
	certificate, err := t.Certificate()
	if err != nil {
		return nil, err
	}
	return &rpc.Membership{
		Certificate: certificate, Scheduler: func(k any) bool { return p.cluster.Equal(k) },
		Pass: p.pass, Token: p.token, Node: p.node, Zone: zone,
	}, nil
}

// membershipMetrics are for those who watch that credentials are renewed.
func (n *Node) membershipMetrics() []metrics.Metric {
	if n.papers == nil {
		return nil
	}
	left := int64(0)
	if own := n.papers.pass.Own(); own.Peer != "" {
		left = max(int64(time.Until(own.Expires).Seconds()), 0)
	}
	return []metrics.Metric{metrics.Gauge("p2pd_credential_left_seconds", "How long the credential of this peer is good; 0: it has none.", left)}
}
