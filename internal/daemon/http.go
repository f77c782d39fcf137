package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// httpGrace is how long a scrape may still run at shutdown.
const httpGrace = time.Second

// admin serves health and metrics.
type admin struct {
	mux *http.ServeMux
	// ready says why the daemon is not ready, nil once it is.
	ready func() error
}

func newAdmin(metrics http.Handler, ready func() error) *admin {
	a := &admin{mux: http.NewServeMux(), ready: ready}
	a.mux.Handle("GET /metrics", metrics)
	a.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	a.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return a
}

// profile adds the profiler, for listeners that only this machine reaches: a
// heap dump may hold what clients sent.
func (a *admin) profile() {
	a.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	a.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	a.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

// run serves on l until ctx ends.
func (a *admin) run(ctx context.Context, l net.Listener) error {
	if t, ok := l.Addr().(*net.TCPAddr); ok && t.IP.IsLoopback() {
		a.profile()
	}
	srv := &http.Server{
		Handler: a.mux, ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve health and metrics: %w", err)
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
