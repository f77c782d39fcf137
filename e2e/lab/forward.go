package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/p2pd/p2pd/internal/throttle"
)

// forward listens on one address and joins connections to another, sending
// back at most at the rate over all of them: the origin's uplink, where the
// kernel doesn't shape it. It ends with the lab.
func (l *Lab) forward(from, to string, most Rate) error {
	listener, err := net.Listen("tcp", from)
	if err != nil {
		return fmt.Errorf("forward to the origin: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &forwarder{ctx: ctx, to: to, limit: throttle.New(int64(most.BytesPerSecond()))}
	f.running.Go(func() { f.accept(listener) })
	l.OnClose(func(context.Context) error {
		cancel()
		err := listener.Close()
		f.running.Wait()
		return err
	})
	return nil
}

type forwarder struct {
	ctx     context.Context //nolint:containedctx // the forwarder's life
	to      string
	limit   *throttle.Limit
	running sync.WaitGroup
}

func (f *forwarder) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			f.running.Go(func() { f.join(conn) })
		}
	}
}

// join copies both ways until either side ends.
func (f *forwarder) join(client net.Conn) {
	defer client.Close()
	var d net.Dialer
	server, err := d.DialContext(f.ctx, "tcp", f.to)
	if err != nil {
		return // the client sees its connection closed
	}
	defer server.Close()
	stop := context.AfterFunc(f.ctx, func() { _ = errors.Join(client.Close(), server.Close()) })
	defer stop()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, throttle.Reader(f.ctx, server, f.limit))
		_ = client.Close()
	})
	_, _ = io.Copy(server, client)
	_ = server.Close()
	back.Wait()
}
