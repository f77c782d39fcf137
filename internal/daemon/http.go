package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"
)

const (
	// httpGrace is how long a scrape may still run at shutdown.
	httpGrace = time.Second
	// checkTimeout bounds one readiness check. Kubernetes gives a probe one
	// second unless it is told otherwise.
	checkTimeout = 800 * time.Millisecond
)

// check is one line of /readyz?verbose.
type check struct {
	name string
	// fails says what is wrong, nil if nothing is.
	fails func(ctx context.Context) error
	// optional checks are shown, and change nothing.
	optional bool
}

// newAdmin answers health checks and scrapes, in the form of the Kubernetes
// API server: /livez while the process answers at all, /readyz while all
// checks pass, /readyz?verbose with a line for each.
func newAdmin(metrics http.Handler, withPprof bool, checks []check) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answerReady(w, r, checks) })
	if withPprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	}
	return mux
}

func answerReady(w http.ResponseWriter, r *http.Request, checks []check) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	var lines strings.Builder
	failed := false
	for _, c := range checks {
		switch err := c.fails(ctx); {
		case err == nil:
			fmt.Fprintf(&lines, "[+]%s ok\n", c.name)
		case c.optional:
			fmt.Fprintf(&lines, "[+]%s not needed: %v\n", c.name, err)
		default:
			failed = true
			fmt.Fprintf(&lines, "[-]%s failed: %v\n", c.name, err)
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	switch _, verbose := r.URL.Query()["verbose"]; {
	case failed:
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, lines.String(), "readyz check failed\n")
	case verbose:
		fmt.Fprint(w, lines.String(), "readyz check passed\n")
	default:
		fmt.Fprint(w, "ok")
	}
}

// serveAdmin serves h on l until ctx ends.
func serveAdmin(ctx context.Context, l net.Listener, h http.Handler) error {
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true) // gRPC
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ConnContext: connContext, Protocols: both,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpGrace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		_ = srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
