package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/p2pd/p2pd/internal/api"
)

func (s *Server) preheatRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/preheats", of: ofScheduler, summary: "The preheat jobs that run, and those of the last day, the newest first",
			returns: api.PreheatList{}, serve: s.preheats,
		}, {
			method: http.MethodPost, path: "/preheats", of: ofScheduler,
			summary: "Bring an image to nodes before anybody pulls it; the answer comes at once, and is the job that does the same if there is one",
			takes:   api.PreheatRequest{}, returns: api.Preheat{}, serve: s.createPreheat,
		}, {
			method: http.MethodGet, path: "/preheats/{id}", of: ofScheduler, summary: "One job with its nodes; every scheduler of the cluster knows it",
			returns: api.Preheat{}, serve: s.preheat,
		}, {
			method: http.MethodDelete, path: "/preheats/{id}", of: ofScheduler, summary: "Cancel a job; what nodes have of it they keep",
			returns: api.Preheat{}, serve: s.cancelPreheat,
		},
	}
}

func (s *Server) preheats(*http.Request) (any, error) {
	return api.PreheatList{Meta: api.Of("PreheatList"), Items: s.cfg.Preheats.Jobs()}, nil
}

func (s *Server) createPreheat(r *http.Request) (any, error) {
	var ask api.PreheatRequest
	if err := read(r, &ask); err != nil {
		return nil, err
	}
	j, what, err := s.create(r.Context(), ask)
	note(r, what)
	if err != nil {
		return nil, err
	}
	return j, nil
}

// create takes a job; what it is about is for the record.
func (s *Server) create(ctx context.Context, ask api.PreheatRequest) (j api.Preheat, what string, err error) {
	if j, err = s.cfg.Preheats.Create(ctx, ask); err != nil {
		return j, fmt.Sprintf("preheat %.300q", ask.Image), err
	}
	return j, fmt.Sprintf("preheat %s, job %d", j.Image, j.ID), nil
}

func (s *Server) preheat(r *http.Request) (any, error) {
	id, err := jobID(r)
	if err != nil {
		return nil, err
	}
	return s.job(r.Context(), id)
}

func (s *Server) job(ctx context.Context, id int64) (api.Preheat, error) {
	j, ok := s.cfg.Preheats.Job(ctx, id)
	if !ok {
		return j, noJob(id)
	}
	return j, nil
}

func (s *Server) cancelPreheat(r *http.Request) (any, error) {
	id, err := jobID(r)
	if err != nil {
		return nil, err
	}
	j, what, err := s.cancel(r.Context(), id)
	note(r, what)
	if err != nil {
		return nil, err
	}
	return j, nil
}

// cancel ends a job in the name of who asks; what became of it is for the record.
func (s *Server) cancel(ctx context.Context, id int64) (j api.Preheat, what string, err error) {
	by, _ := ctx.Value(who{}).(string)
	j, ok := s.cfg.Preheats.Cancel(id, "cancelled by "+by)
	if !ok {
		return j, fmt.Sprintf("preheat job %d", id), noJob(id)
	}
	return j, "preheat " + j.Image + " is " + j.State, nil
}

func jobID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil || id < 1 {
		return 0, invalid(fmt.Sprintf("%.40q is no job's number", r.PathValue("id")), "GET "+api.Prefix+"/preheats lists them")
	}
	return id, nil
}

func noJob(id int64) error {
	return absent(fmt.Sprintf("there is no preheat job %d", id), "jobs are forgotten a day after they have ended, and with the last scheduler that knew them; GET "+api.Prefix+"/preheats lists them")
}
