package rpc

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// gRPC's keepalive compares times of day. After one step back of its clock a scheduler
// would take each of its connections for dead, and ten thousand peers lose it within
// seconds and come back all at once; a peer whose clock goes back would lose all
// schedulers. So neither goes by it: a peer asks each beatEvery whether the scheduler is
// well, and both judge the other by a clock that does not step.
const (
	beatEvery = 10 * time.Second
	// pingsUnanswered is how long gRPC waits for an answer to a ping: for good.
	pingsUnanswered = 24 * time.Hour
)

// beat asks a scheduler again and again whether it is well, until ctx ends, or until it
// has not answered within wait: then it calls dead. Any answer will do.
func beat(ctx context.Context, conn grpc.ClientConnInterface, every, wait time.Duration, dead func()) {
	health := healthpb.NewHealthClient(conn)
	for {
		select {
		case <-time.After(every - rand.N(every/4+1)): // all came at once when a scheduler started
		case <-ctx.Done():
			return
		}
		asking, cancel := context.WithTimeout(ctx, wait)
		_, err := health.Check(asking, &healthpb.HealthCheckRequest{})
		cancel()
		if status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil {
			dead()
			return
		}
	}
}
