package web

import (
	"context"
	"fmt"
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
	j, err := d.s.cfg.Preheats.Create(r)
	if err != nil {
		d.s.recordCall(ctx, "CreatePreheat", fmt.Sprintf("preheat %.300q", r.Image), err)
		return j, err
	}
	d.s.recordCall(ctx, "CreatePreheat", fmt.Sprintf("preheat %s, job %d", j.Image, j.ID), nil)
	return j, nil
}

// Preheats are all jobs, the newest first.
func (d PreheatDesk) Preheats(context.Context) []api.Preheat { return d.s.cfg.Preheats.Jobs() }

// Preheat is one job with its nodes. Errors are *api.Error.
func (d PreheatDesk) Preheat(ctx context.Context, id int64) (api.Preheat, error) {
	j, ok := d.s.cfg.Preheats.Job(ctx, id)
	if !ok {
		return j, noJob(id)
	}
	return j, nil
}

// CancelPreheat ends a job. Errors are *api.Error.
func (d PreheatDesk) CancelPreheat(ctx context.Context, id int64) (api.Preheat, error) {
	j, err := d.s.cancel(ctx, id)
	what := fmt.Sprintf("preheat job %d", id)
	if err == nil {
		what = "preheat " + j.Image + " is " + j.State
	}
	d.s.recordCall(ctx, "CancelPreheat", what, err)
	return j, err
}

// recordCall is record for what came by gRPC.
func (s *Server) recordCall(ctx context.Context, call, what string, err error) {
	by, _ := ctx.Value(who{}).(string)
	attrs := []any{"who", by, "method", "gRPC", "path", call, "what", what}
	if err != nil {
		s.log.Warn("admin change failed", append(attrs, "err", err)...)
		return
	}
	s.log.Info("admin change", attrs...)
}

// serveGRPC answers a request that has passed the Guard.
func (s *Server) serveGRPC(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 2*bodyMost) // framed
	s.grpc.ServeHTTP(w, r)
}
