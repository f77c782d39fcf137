package web

import (
	"context"
	"time"

	"github.com/p2pd/p2pd/internal/api"
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

// Node is a running p2pd.
type Node interface {
	Status(ctx context.Context) (api.NodeStatus, error)
}
