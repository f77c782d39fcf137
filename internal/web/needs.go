package web

import (
	"context"
	"time"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Brain is a running scheduler.
type Brain interface {
	// View runs f once, where it may look at the scheduler, which does
	// nothing else meanwhile: f takes a bounded view and returns. If View
	// fails, f may still run later.
	View(ctx context.Context, f func(now time.Time, s *scheduler.Scheduler)) error
	Ban(ctx context.Context, b scheduler.BanPeer) error
	Unban(ctx context.Context, p scheduler.PeerID) error
}

// Preheats are the jobs of a cluster. *preheat.Desk is one.
type Preheats interface {
	// Create takes a job. Errors are *api.Error.
	Create(ctx context.Context, r api.PreheatRequest) (api.Preheat, error)
	// Jobs are all that are known, the newest first, without their nodes.
	Jobs() []api.Preheat
	// Job is one with its nodes; false if it is not known.
	Job(ctx context.Context, id int64) (api.Preheat, bool)
	// Cancel ends one, if it runs; false if it is not known.
	Cancel(id int64, why string) (api.Preheat, bool)
}

// Ledger is what nodes have told a scheduler for people. *ledger.Ledger is one.
// Answers are the caller's.
type Ledger interface {
	Summary(now time.Time) api.Reports
	// Images are those that were pulled, the latest first; Image is one by the
	// digest of its manifest, false if none is remembered.
	Images(now time.Time) []api.PulledImage
	Image(now time.Time, d piece.Digest) (api.PulledImageDetail, bool)
	// Incidents are those of a kind, the latest first; of all if it is empty.
	Incidents(now time.Time, kind string) []api.Incident
	// Checks are the last run of each node, those that failed first.
	Checks(now time.Time) []api.CheckRun
	// Checked takes a run from an operator.
	Checked(now time.Time, run api.CheckRun)
}

// Node is a running p2pd.
type Node interface {
	Status(ctx context.Context) (api.NodeStatus, error)
	Downloads(ctx context.Context) ([]api.Download, error)
	Cache(ctx context.Context) (api.CacheList, error)
	// Verify reads blobs again; without digests all whole ones of the store.
	Verify(ctx context.Context, ds []piece.Digest) (api.VerifyResult, error)
	// Remove removes a blob from the store. Errors are *api.Error where it is
	// not there, or in use.
	Remove(ctx context.Context, d piece.Digest) (api.PruneResult, error)
	Prune(ctx context.Context, what PruneWhat) (api.PruneResult, error)
	// Explain tells the story of a digest or a tag; false if there is none.
	Explain(ctx context.Context, name string) (api.Explanation, bool, error)
	Explained(ctx context.Context) ([]api.Explained, error)
	// Report passes a check on to the schedulers. Errors are *api.Error where
	// there are none.
	Report(run api.CheckRun) error
}

// PruneWhat is an api.PruneRequest that was read.
type PruneWhat struct {
	UnusedFor              time.Duration
	Spare, Partial, DryRun bool
}
