package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits on what a client may hold before the mirror has read its request.
const (
	// readHeaderTimeout is for a client that connects and says nothing.
	// Clients are on the same machine and send headers at once.
	readHeaderTimeout = 10 * time.Second
	// idleTimeout closes kept-alive connections. It is longer than the 30 s
	// after which containerd closes its own, so that the client closes
	// first and never writes into a connection that is just ending.
	idleTimeout = 2 * time.Minute
	// maxHeader holds any repository name, tag and token.
	maxHeader = 32 << 10
)

// Serve answers requests on l until ctx ends, then takes no more, lets
// running answers finish for Config.Drain and cuts what is left. It closes l,
// and returns once all its goroutines have: nil after ctx has ended, else why
// the listener failed.
//
// There is no authentication: l belongs on loopback.
func (m *Mirror) Serve(ctx context.Context, l net.Listener) error {
	var conns sync.WaitGroup
	srv := &http.Server{
		Handler:           m,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
		// Running answers outlive ctx by the drain.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		// Close does not wait for handlers; this does. A connection's
		// handler runs in the goroutine that reports StateClosed last.
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()

	var failed error
	select {
	case err := <-ended:
		failed = fmt.Errorf("serve the mirror on %s: %w", l.Addr(), err)
	case <-ctx.Done():
		m.drain(ctx, srv)
		<-ended
	}
	srv.Close() //nolint:errcheck // the listener is closed or broken already
	conns.Wait()
	return failed
}

// drain stops srv from taking requests and waits for running ones.
func (m *Mirror) drain(ctx context.Context, srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.Drain)
	defer cancel()
	if err := srv.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		m.log.Info("mirror cuts transfers that outlast the drain",
			"running", m.counters.running.Load(), "drain", m.cfg.Drain)
	}
}
