package web

import (
	"context"
	"net/http"
	"strings"

	"github.com/p2pd/p2pd/internal/api"
)

// isGRPC reports whether a request is one of gRPC's.
func isGRPC(r *http.Request) bool {
	return r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc")
}

// PreheatDesk is the jobs of a scheduler for those that ask by gRPC, who have passed
// the Guard. What they change is on the record as what is changed by HTTP.
type PreheatDesk struct{ s *Server }

// CreatePreheat takes a job. Errors are *api.Error.
func (d PreheatDesk) CreatePreheat(ctx context.Context, r api.PreheatRequest) (api.Preheat, error) {
	j, what, err := d.s.create(ctx, r)
	d.s.record(ctx, "gRPC", "CreatePreheat", what, err)
	return j, err
}

// Preheats are all jobs, the newest first.
func (d PreheatDesk) Preheats(context.Context) []api.Preheat { return d.s.cfg.Preheats.Jobs() }

// Preheat is one job with its nodes. Errors are *api.Error.
func (d PreheatDesk) Preheat(ctx context.Context, id int64) (api.Preheat, error) {
	return d.s.job(ctx, id)
}

// CancelPreheat ends a job. Errors are *api.Error.
func (d PreheatDesk) CancelPreheat(ctx context.Context, id int64) (api.Preheat, error) {
	j, what, err := d.s.cancel(ctx, id)
	d.s.record(ctx, "gRPC", "CancelPreheat", what, err)
	return j, err
}

// serveGRPC answers a request that has passed the Guard.
func (s *Server) serveGRPC(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 2*bodyMost) // framed
	s.grpc.ServeHTTP(w, r)
}
