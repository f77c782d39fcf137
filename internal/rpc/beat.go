package rpc

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// gRPC's keepalive compares times of day. After one step back of its clock a scheduler
// would take each of its connections for dead, and ten thousand peers lose it within
// seconds and come back all at once; a peer whose clock goes back would lose all
// schedulers. So neither goes by it: a peer has the scheduler answer something each
// beatEvery, and both give a connection up from which they hear nothing (silence.go).
const beatEvery = 10 * time.Second

// each calls f again and again, every time or a little sooner, until ctx ends.
func each(ctx context.Context, every time.Duration, f func()) {
	for {
		select {
		case <-time.After(every - rand.N(every/4+1)): // all came at once when a scheduler started
		case <-ctx.Done():
			return
		}
		f()
	}
}

// beat asks the scheduler for any response. If that does not fit into the queue, the
// stream has stood still for long.
func (o *outbox) beat() { o.put(parcel{beat: true}, nil) }

// checkHealth asks a scheduler that takes no Beat whether it is well, by a call of its
// own: of ten thousand peers these cost it a quarter of a core. Any answer will do: that
// one comes is what keeps the connection.
func checkHealth(ctx context.Context, conn grpc.ClientConnInterface, most time.Duration) {
	asking, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	_, _ = healthpb.NewHealthClient(conn).Check(asking, &healthpb.HealthCheckRequest{})
}

// beaten stands among decisions for a response that was asked for, whatever is in it.
var beaten scheduler.Decision
