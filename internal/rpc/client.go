package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/p2pd/p2pd/internal/ledger"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
	p2pdv1 "github.com/p2pd/p2pd/proto/p2pd/v1"
)

// Defaults of ClientConfig.
const (
	// DefaultRetryFirst and DefaultRetryMost bound the wait between
	// attempts. A good part of each wait is drawn at random, so that a
	// scheduler that comes back is not met by all peers at once.
	DefaultRetryFirst = 100 * time.Millisecond
	DefaultRetryMost  = 3 * time.Second
	// DefaultSendQueue is how many events may wait for the stream.
	DefaultSendQueue = 1024
)

// Handler takes what comes from the scheduler. *peer.Peer is one. The calls
// come one after the other.
type Handler interface {
	// Attached says that a scheduler has let this peer in; events go to s
	// until Detached.
	Attached(s peer.Scheduler)
	Detached()
	Decide(scheduler.Decision)
}

// ClientConfig is what a Client is made of. Address, Self and Handler must be
// set; the zero value of each other field means its default.
type ClientConfig struct {
	Address string // host:port of the scheduler
	Self    scheduler.Peer
	Handler Handler
	Logger  *slog.Logger // nil logs nothing
	// Membership is for closed clusters; nil speaks plaintext.
	Membership *Membership
	// RetryFirst and RetryMost bound the wait between attempts.
	RetryFirst, RetryMost time.Duration
	// SendQueue is how many events may wait for the stream. Past it the
	// oldest Summary or Report makes room, as a later Summary repeats what
	// matters.
	SendQueue int
	// Failed is told why an attempt to get a stream has failed, or why one has
	// ended, in words for an operator. It must not block. Nil is told nothing.
	Failed func(error)
}

// Client keeps one stream to the scheduler up.
type Client struct {
	cfg       ClientConfig
	log       *slog.Logger
	dropped   atomic.Int64
	sightings *sightings
	conn      atomic.Pointer[grpc.ClientConn] // while Run runs
	out       atomic.Pointer[outbox]          // while attached
	stale     bool                            // the scheduler does not take this peer's credential
	name      string                          // of the scheduler that is attached; empty: it says none
	takes     []string                        // what that one takes, see takesKey
	every     time.Duration                   // beatEvery, but for tests
	silence   time.Duration                   // how long a scheduler may say nothing
}

// NewClient makes a client.
func NewClient(cfg ClientConfig) *Client {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.RetryFirst <= 0 {
		cfg.RetryFirst = DefaultRetryFirst
	}
	if cfg.RetryMost <= 0 {
		cfg.RetryMost = max(DefaultRetryMost, cfg.RetryFirst)
	}
	if cfg.SendQueue <= 0 {
		cfg.SendQueue = DefaultSendQueue
	}
	if cfg.Failed == nil {
		cfg.Failed = func(error) {}
	}
	return &Client{cfg: cfg, log: cfg.Logger, sightings: newSightings(), every: beatEvery, silence: beatEvery + deadAfter}
}

// Dropped is how many events did not fit into the queue.
func (c *Client) Dropped() int64 { return c.dropped.Load() }

// Run keeps a stream up until ctx ends. It fails only if the configuration
// can never work.
func (c *Client) Run(ctx context.Context) error {
	if err := c.introducible(); err != nil {
		return err
	}
	conn, err := c.connection()
	if err != nil {
		return fmt.Errorf("scheduler address %q: %w", c.cfg.Address, err)
	}
	defer conn.Close()
	c.conn.Store(conn)
	defer c.conn.Store(nil)
	wait, quiet, last := c.cfg.RetryFirst, false, ""
	for {
		lasted, err := c.attach(ctx, conn)
		if ctx.Err() != nil {
			return nil
		}
		if lasted > c.cfg.RetryMost {
			wait, quiet = c.cfg.RetryFirst, false
		}
		if !quiet || err.Error() != last { // once, not at every attempt: to explain it may take a connection
			last = err.Error()
			why := c.explain(ctx, err)
			c.cfg.Failed(why)
			if !quiet {
				c.log.Warn("no stream to the scheduler; going on without", "address", c.cfg.Address, "err", why)
			}
			quiet = true
		}
		if errors.Is(err, errUnreachable) {
			continue // the connection waits between its own attempts
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		case <-ctx.Done():
			return nil
		}
		wait = min(2*wait, c.cfg.RetryMost)
	}
}

// introducible checks that a scheduler can take this peer's hello: asking
// again and again would not help if not.
func (c *Client) introducible() error {
	m := encodeEvent(scheduler.PeerUp{Peer: c.cfg.Self})
	_, err := decodeHello(m)
	if err == nil {
		_, err = proto.Marshal(m)
	}
	if err != nil {
		return fmt.Errorf("this peer as the scheduler would see it: %w", err)
	}
	return nil
}

// attachClient is the peer's end of a stream as gRPC has it.
type attachClient = grpc.BidiStreamingClient[p2pdv1.AttachRequest, p2pdv1.AttachResponse]

// attach opens one stream and serves it until it breaks. It returns how long
// it was attached.
func (c *Client) attach(ctx context.Context, conn *grpc.ClientConn) (lasted time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	svc, members := p2pdv1.NewSchedulerServiceClient(conn), p2pdv1.NewMembershipServiceClient(conn)
	if m := c.cfg.Membership; m != nil && (m.Pass.Card() == nil || c.stale) {
		if err := c.enrol(ctx, members); err != nil {
			return 0, err
		}
		c.stale = false
	}
	g, err := c.open(ctx, cancel, svc)
	if err != nil {
		c.stale = status.Code(err) == codes.Unauthenticated
		return 0, err
	}
	began := time.Now()
	c.log.Info("attached to the scheduler", "address", c.cfg.Address)
	out := &outbox{queue: newQueue[parcel](c.cfg.SendQueue), dropped: &c.dropped, table: slices.Contains(c.takes, takesTable)}
	c.out.Store(out)
	defer c.out.Store(nil)
	sent := make(chan error, 1)
	go func() {
		sent <- out.drain(ctx, g)
		cancel() // ends receive, if it is this side that broke
	}()
	var beside sync.WaitGroup
	beside.Go(func() { c.vouch(ctx, svc) })
	beside.Go(func() {
		if slices.Contains(c.takes, takesBeat) {
			each(ctx, c.every, out.beat)
		} else {
			each(ctx, c.every, func() { checkHealth(ctx, conn, c.every) })
		}
	})
	if c.cfg.Membership != nil {
		beside.Go(func() { c.renew(ctx, members) })
	}
	defer beside.Wait()
	c.cfg.Handler.Attached(out)
	err = c.receive(g)
	c.cfg.Handler.Detached()
	cancel()
	if serr := <-sent; serr != nil && !errors.Is(serr, context.Canceled) {
		err = errors.Join(err, serr)
	}
	return time.Since(began), err
}

// receive passes decisions on until the stream ends.
func (c *Client) receive(g attachClient) error {
	for {
		m, err := g.Recv()
		if err != nil {
			return err
		}
		ds, err := decodeDecisions(c.cfg.Self.ID, m)
		if err != nil {
			return err
		}
		for _, d := range ds {
			c.cfg.Handler.Decide(d)
		}
	}
}

// parcel is what waits for a stream: an event, a report for people, or a beat.
type parcel struct {
	event  scheduler.Event
	report *ledger.Report
	beat   bool
}

// outbox is one stream's events on their way out. It implements
// peer.Scheduler.
type outbox struct {
	*queue[parcel]
	dropped *atomic.Int64
	table   bool // the scheduler takes one in a Summary
}

// Send implements peer.Scheduler.
func (o *outbox) Send(e scheduler.Event) {
	if !o.put(parcel{event: e}, isLesser) {
		o.dropped.Add(1)
	}
}

// isLesser reports whether something may be lost for what is not repeated.
func isLesser(p parcel) bool {
	_, ok := p.event.(scheduler.Summary)
	return ok || p.report != nil || p.beat
}

// drain sends what is put into the outbox until ctx ends.
func (o *outbox) drain(ctx context.Context, g attachClient) error {
	for {
		parcels, err := o.take(ctx)
		if err != nil {
			return err
		}
		for _, p := range parcels {
			for _, m := range p.messages() {
				if !o.table {
					spellOut(m.GetSummary())
				}
				if err := g.Send(m); err != nil {
					return fmt.Errorf("send to the scheduler: %w", err)
				}
			}
		}
	}
}

// messages are what is sent for a parcel; none if the stream itself says it.
func (p parcel) messages() (all []*p2pdv1.AttachRequest) {
	switch {
	case p.report != nil:
		return append(all, encodeReport(p.report, time.Now()))
	case p.beat:
		return append(all, &p2pdv1.AttachRequest{Event: &p2pdv1.AttachRequest_Beat{Beat: &p2pdv1.Beat{}}})
	}
	for _, e := range split(p.event) {
		if m := encodeEvent(e); m != nil {
			all = append(all, m)
		}
	}
	return all
}
