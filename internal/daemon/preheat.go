package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/p2pd/p2pd/internal/origin"
	"github.com/p2pd/p2pd/internal/preheat"
	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// PreheatConfig is what a scheduler may bring to nodes, and who may ask for it.
type PreheatConfig struct {
	// Registries are those that images may come from; none: there is no preheat.
	Registries Registries `json:"registries"`
	// Listen is where registries ask for preheats; empty: nowhere.
	Listen string `json:"listen"`
	// TLS is what that listener shows.
	TLS ServerTLS `json:"tls"`
	// TokenFile holds the tokens that are good there, one a line.
	TokenFile string `json:"tokenFile"`
	// Clusters are the zones that Harbor's cluster IDs stand for; none: IDs mean nothing.
	Clusters Clusters `json:"clusters"`
	// Rules say which webhooks lead to a preheat.
	Rules Rules `json:"rules"`
}

func (c *PreheatConfig) flags(fs *pflag.FlagSet) {
	fs.Var(&c.Registries, "preheat-registries", "hosts whose images may be preheated, as HOST or HOST=URL,...; none: no preheat")
	text(fs, &c.Listen, "preheat-listen", "`IP:PORT` where Harbor and other registries ask for preheats; empty: nowhere")
	text(fs, &c.TLS.CertFile, "preheat-tls-cert-file", "`file` with the certificate of preheat.listen, which it needs unless it is on loopback")
	text(fs, &c.TLS.KeyFile, "preheat-tls-key-file", "`file` with that certificate's key")
	text(fs, &c.TokenFile, "preheat-token-file", "`file` with the tokens for preheat.listen, one a line; one is made on the first start")
	fs.Var(&c.Clusters, "preheat-clusters", "zones that the cluster IDs of Harbor's policies stand for, as ID=ZONE,...; none: they mean nothing")
	fs.Var(&c.Rules, "preheat-rules", "pushes that lead to a preheat, as REGISTRY/REPOSITORY[:TAG],..., with * and **")
}

// preheat checks what is configured.
func (p *problems) preheat(c PreheatConfig, m HubMembership) {
	p.registries("preheat.registries", c.Registries)
	for i, r := range c.Rules {
		if err := r.Check(); err != nil {
			p.add(fmt.Sprintf("preheat.rules[%d]", i), r.Registry+"/"+r.Repository, "is no rule: "+err.Error())
		}
		if r.Selector != "" && m.Mode != modeKubernetes {
			p.add(fmt.Sprintf("preheat.rules[%d].selector", i), r.Selector, "is about labels of Kubernetes nodes; set membership.mode to kubernetes, or name nodes by pattern")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.Clusters)) {
		if n, err := strconv.ParseInt(id, 10, 64); err != nil || n < 1 || len(c.Clusters[id]) == 0 || slices.Contains(c.Clusters[id], "") {
			p.add("preheat.clusters", id, "is no cluster: write its number and its zones, such as 1: [a, b]")
		}
	}
	exposed := p.guarded(c.hooks())
	if c.Listen == "" {
		if len(c.Rules) > 0 {
			p.add("preheat.listen", "", "must be set where preheat.rules are: webhooks come there; use 0.0.0.0:7313")
		}
		return
	}
	if exposed {
		p.add("preheat.listen", c.Listen, "is open to others, and tokens would cross the network in the clear; set preheat.tls.certFile and keyFile (Harbor can be told not to verify them), or use 127.0.0.1:PORT")
	}
	if len(c.Registries) == 0 {
		p.add("preheat.registries", "", "lists none, so that there is nothing to ask preheat.listen for; list those that images may come from")
	}
}

// preheatOrigin is how a scheduler looks images up.
func preheatOrigin(c PreheatConfig, version string, log *slog.Logger) (*origin.Origin, error) {
	o, err := newOrigin(c.Registries, origin.Config{UserAgent: "p2pd-scheduler/" + version, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("preheat.%w", err)
	}
	return o, nil
}

// preheats is what the desk of a hub is made of. Where it is not closed, peers are
// spoken to in plaintext.
func (h *Hub) preheats(o *origin.Origin, f fence) preheat.Config {
	c := preheat.Config{Registries: lookups{o}, Peers: h.server, Self: h.cfg.Fleet.Advertise, Clear: f.guard == nil, Logger: h.log}
	if f.platform != nil { // a nil client is none, but not a nil interface
		c.Labels = f.platform
	}
	if h.cfg.Fleet.Listen != "" {
		c.Tell = func(jobs []byte) {
			if text, err := json.Marshal([]banNews{{Preheats: jobs}}); err == nil {
				h.fleet.Tell(text)
			}
		}
	}
	return c
}

// lookups is an origin as a desk sees it.
type lookups struct{ o *origin.Origin }

// viewed is the origin as somebody may read it; zero is as this program may.
func viewed(o *origin.Origin, as secret.Value) origin.View {
	if as.IsZero() {
		return o.Node()
	}
	return o.As(as)
}

// Known implements preheat.Registries.
func (l lookups) Known(host string) (name string, plain bool, err error) { return l.o.Known(host) }

// Authorize implements preheat.Registries.
func (l lookups) Authorize(ctx context.Context, host, repo, username string, password secret.Value) (secret.Value, error) {
	return l.o.Authorize(ctx, host, repo, username, password)
}

// Resolve implements preheat.Registries.
func (l lookups) Resolve(ctx context.Context, host, repo, tag string, as secret.Value) (piece.Digest, error) {
	d, err := viewed(l.o, as).Resolve(ctx, host, repo, tag)
	if err == nil && d.Stale > 0 {
		err = errors.New("the registry does not answer, and a tag's last answer is nothing to preheat by")
	}
	return d.Digest, err
}

// Manifest implements preheat.Registries.
func (l lookups) Manifest(ctx context.Context, host, repo string, d piece.Digest, as secret.Value) ([]byte, error) {
	src, err := viewed(l.o, as).Manifest(host, repo, d)
	if err != nil {
		return nil, err
	}
	body, _, err := src.Read(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, origin.MaxManifest+1))
}

// warming is a node's engine as an agent sees it.
type warming struct {
	p *peer.Peer
	o *origin.Origin
}

// Fetch implements preheat.Engine. Whether anything is read from that registry,
// this node's own configuration says.
func (w warming) Fetch(ctx context.Context, want preheat.Want) error {
	read := viewed(w.o, want.Authorization).Blob
	if want.Manifest {
		read = viewed(w.o, want.Authorization).Manifest
	}
	src, err := read(want.Registry, want.Repository, want.Digest)
	if err != nil {
		return err
	}
	err = w.p.Fetch(ctx, peer.Ref{Digest: want.Digest, Size: want.Size, Source: src})
	if errors.Is(err, peer.ErrNoSpace) {
		return fmt.Errorf("disk full: %w", err)
	}
	return err
}

// Busy implements preheat.Engine.
func (w warming) Busy() bool { return w.p.Busy() }

// Fetched implements preheat.Engine.
func (w warming) Fetched(want preheat.Want) int64 {
	return w.p.Fetched(peer.Ref{Digest: want.Digest, Size: want.Size})
}
