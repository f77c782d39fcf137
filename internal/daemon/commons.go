package daemon

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/p2pd/p2pd/internal/access"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// commons is what the nodes tell each other of public content, by way of the
// scheduler. Without one, nobody is told and nobody knows.
type commons struct{ n *Node }

// vouchKey stands for a manifest in a repository. Whoever knows both can make
// it; it tells nobody either.
func vouchKey(r access.Repo, d piece.Digest) scheduler.VouchKey {
	h := sha256.Sum256([]byte("p2pd public manifest\x00" + r.String() + "\x00" + d.String()))
	return scheduler.VouchKey(h[:len(scheduler.VouchKey{})])
}

// Vouch implements access.Commons.
func (c commons) Vouch(r access.Repo, d piece.Digest) {
	if c.n.client != nil {
		c.n.client.Vouch(vouchKey(r, d))
	}
}

// Recall implements access.Commons.
func (c commons) Recall(ctx context.Context, r access.Repo, d piece.Digest) (time.Duration, bool) {
	if c.n.client == nil {
		return 0, false
	}
	age, known, err := c.n.client.Recall(ctx, vouchKey(r, d))
	if err != nil {
		c.n.log.Debug("the cluster does not say what is public", "repository", r.String(), "err", err)
	}
	return age, known && err == nil
}
