package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

const (
	// dialWait is how long one attempt to connect may take.
	dialWait = 2 * time.Second
	// headerWait is how long a scheduler may take to let a peer in: when
	// ten thousand come at once, the last ones wait for the others.
	headerWait = 10 * time.Second
)

// A scheduler whose host is dead must be noticed within 5 s. So the kernel does it: what
// is sent must be acknowledged within deadAfter, and a quiet connection is probed every
// probeAfter, twice before it is given up. One that hangs on a host that lives is given
// up, and its connection with it, deadAfter a beat that it does not answer.
const (
	deadAfter     = 4 * time.Second
	probeAfter    = 2 * time.Second
	probeInterval = time.Second
	probes        = 2
)

// errUnreachable says that there was no connection within dialWait.
var errUnreachable = errors.New("cannot connect to the scheduler")

// connection is made once; it connects by itself whenever a stream is wanted.
// No proxy of the environment is used: those lead out of the cluster.
func (c *Client) connection() (*grpc.ClientConn, error) {
	const jitter = 0.5
	dialer := &net.Dialer{
		Timeout:         dialWait,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeInterval, Count: probes},
		Control:         acknowledgedWithin(deadAfter),
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(c.cfg.Membership.credentials(c.cfg.Failed)),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			return &attentive{Conn: conn, silence: c.silence}, nil
		}),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: c.cfg.RetryFirst, Multiplier: 1.6, Jitter: jitter,
				MaxDelay: time.Duration(float64(c.cfg.RetryMost) / (1 + jitter)),
			},
			MinConnectTimeout: dialWait,
		}),
	}
	if m := c.cfg.Membership; m != nil {
		opts = append(opts, grpc.WithPerRPCCredentials(showing{m.Pass}))
	}
	return grpc.NewClient(c.cfg.Address, opts...)
}

// open opens a stream, says hello and waits to be let in. cancel must end
// ctx, in which the stream lives on.
func (c *Client) open(ctx context.Context, cancel context.CancelFunc, svc p2pdv1.SchedulerServiceClient) (attachClient, error) {
	deadline := time.AfterFunc(dialWait, cancel)
	g, err := svc.Attach(ctx, grpc.WaitForReady(true))
	if !deadline.Stop() {
		return nil, fmt.Errorf("%w within %v: %w", errUnreachable, dialWait, cmp.Or(err, ctx.Err()))
	}
	if err != nil {
		return nil, err
	}
	deadline = time.AfterFunc(headerWait, cancel)
	err = c.greet(g)
	if !deadline.Stop() {
		return nil, fmt.Errorf("the scheduler did not let this peer in within %v", headerWait)
	}
	return g, err
}

// greet says hello and waits for the header, which says that this peer is in.
func (c *Client) greet(g attachClient) error {
	serr := g.Send(encodeEvent(scheduler.PeerUp{Peer: c.cfg.Self}))
	if serr == nil {
		header, err := g.Header()
		if err == nil && header != nil {
			c.name, c.takes = "", header.Get(takesKey)
			if v := header.Get(nameKey); len(v) == 1 && len(v[0]) <= maxText {
				c.name = v[0]
			}
		}
		if err != nil || header != nil {
			return err
		}
	}
	// The stream has ended already. Why is what Recv says.
	if _, err := g.Recv(); err != nil {
		return err
	}
	return errors.Join(errors.New("no header before the first decision"), serr)
}
