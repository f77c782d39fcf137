package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

const (
	// sendQueue is how many events may wait for the stream. Past it they
	// are dropped: the next summary repeats what matters.
	sendQueue = 1024
	// retryFirst and retryMost bound the wait between attempts to connect;
	// half of each wait is drawn at random, so that a scheduler that comes
	// back is not met by all peers at once.
	retryFirst = 100 * time.Millisecond
	retryMost  = 3 * time.Second
	// dialWait is how long one attempt to connect may take.
	dialWait = 2 * time.Second
)

// Handler takes what comes from the scheduler. *peer.Peer is one. The calls
// come one after the other.
type Handler interface {
	// Attached says that a stream is up; events go to s until Detached.
	Attached(s peer.Scheduler)
	Detached()
	Decide(scheduler.Decision)
}

// ClientConfig is what a Client is made of. All but Logger and Credentials
// must be set.
type ClientConfig struct {
	Address string // host:port of the scheduler
	Self    scheduler.Peer
	Handler Handler
	Logger  *slog.Logger
	// Credentials secure the connection; nil speaks plaintext.
	Credentials credentials.TransportCredentials
}

// Client keeps one stream to the scheduler up.
type Client struct {
	cfg     ClientConfig
	log     *slog.Logger
	dropped atomic.Int64
}

// NewClient makes a client.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Credentials == nil {
		cfg.Credentials = insecure.NewCredentials()
	}
	return &Client{cfg: cfg, log: cfg.Logger}
}

// Dropped is how many events did not fit into the queue.
func (c *Client) Dropped() int64 { return c.dropped.Load() }

// Run keeps a stream up until ctx ends. It fails only if the address cannot
// be one.
func (c *Client) Run(ctx context.Context) error {
	conn, err := grpc.NewClient(c.cfg.Address,
		grpc.WithTransportCredentials(c.cfg.Credentials),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveEvery + 5*time.Second, Timeout: keepaliveWait}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: retryFirst, Multiplier: 1.6, Jitter: 0.5, MaxDelay: retryMost},
			MinConnectTimeout: dialWait,
		}))
	if err != nil {
		return fmt.Errorf("scheduler address %q: %w", c.cfg.Address, err)
	}
	defer conn.Close()
	wait, quiet := retryFirst, false
	for ctx.Err() == nil {
		began := time.Now()
		err := c.attach(ctx, p2pdv1.NewSchedulerServiceClient(conn))
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > retryMost {
			wait, quiet = retryFirst, false
		}
		if !quiet { // once, not at every attempt
			c.log.Warn("no stream to the scheduler; going on without", "address", c.cfg.Address, "err", err)
			quiet = true
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		case <-ctx.Done():
		}
		wait = min(2*wait, retryMost)
	}
	return nil
}

// attach opens one stream and serves it until it breaks.
func (c *Client) attach(ctx context.Context, svc p2pdv1.SchedulerServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, err := svc.Attach(ctx)
	if err != nil {
		return err
	}
	if err := g.Send(encodeEvent(scheduler.PeerUp{Peer: c.cfg.Self})); err != nil {
		return err
	}
	q := &queue{ch: make(chan scheduler.Event, sendQueue), dropped: &c.dropped}
	sent := make(chan error, 1)
	go func() { sent <- c.send(ctx, g, q); cancel() }()
	c.log.Info("attached to the scheduler", "address", c.cfg.Address)
	c.cfg.Handler.Attached(q)
	err = c.receive(g)
	c.cfg.Handler.Detached()
	cancel()
	if serr := <-sent; serr != nil && errors.Is(err, context.Canceled) {
		err = serr
	}
	return err
}

func (c *Client) send(ctx context.Context, g grpc.BidiStreamingClient[p2pdv1.AttachRequest, p2pdv1.AttachResponse], q *queue) error {
	for {
		select {
		case e := <-q.ch:
			if m := encodeEvent(e); m != nil {
				if err := g.Send(m); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Client) receive(g grpc.BidiStreamingClient[p2pdv1.AttachRequest, p2pdv1.AttachResponse]) error {
	for {
		m, err := g.Recv()
		if err != nil {
			return err
		}
		d, err := decodeDecision(c.cfg.Self.ID, m)
		if err != nil {
			return err
		}
		if d != nil {
			c.cfg.Handler.Decide(d)
		}
	}
}

// queue is one stream's events on their way out. It implements
// peer.Scheduler.
type queue struct {
	ch      chan scheduler.Event
	dropped *atomic.Int64
}

// Send implements peer.Scheduler.
func (q *queue) Send(e scheduler.Event) {
	select {
	case q.ch <- e:
	default:
		q.dropped.Add(1)
	}
}
