package rpc

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// gRPC's keepalive compares times of day. After one step back of its clock a scheduler
// would take each of its connections for dead, and ten thousand peers lose it within
// seconds and come back all at once; a peer whose clock goes back would lose all
// schedulers. So neither goes by it: a peer asks each beatEvery whether the scheduler is
// well, and both give a connection up from which they hear nothing (silence.go).
const beatEvery = 10 * time.Second

// beat asks a scheduler again and again whether it is well, until ctx ends. Any answer
// will do: that one comes is what keeps the connection.
func beat(ctx context.Context, conn grpc.ClientConnInterface, every time.Duration) {
	health := healthpb.NewHealthClient(conn)
	for {
		select {
		case <-time.After(every - rand.N(every/4+1)): // all came at once when a scheduler started
		case <-ctx.Done():
			return
		}
		asking, cancel := context.WithTimeout(ctx, every)
		_, _ = health.Check(asking, &healthpb.HealthCheckRequest{})
		cancel()
	}
}
