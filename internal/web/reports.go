package web

import (
	"fmt"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/api"
)

func (s *Server) reportRoutes() []route {
	return []route{
		{
			method: http.MethodGet, path: "/pulls", of: ofScheduler, summary: "The images that nodes pulled in the last day, the latest first",
			returns: api.PulledImageList{}, serve: s.images,
		}, {
			method: http.MethodGet, path: "/pulls/{digest}", of: ofScheduler, summary: "One image, by the digest of its manifest, with its slowest and its latest pulls",
			returns: api.PulledImageDetail{}, serve: s.image,
		}, {
			method: http.MethodGet, path: "/incidents", of: ofScheduler, summary: "What went wrong on nodes in the last day, the latest first",
			query:   []param{{"kind", "string", api.IncidentRefusal + " or " + api.IncidentVerify + "; absent: both"}},
			returns: api.IncidentList{}, serve: s.incidents,
		}, {
			method: http.MethodGet, path: "/checks", of: ofScheduler, summary: "The last run of p2pctl check on each node, those that failed first",
			returns: api.CheckRunList{}, serve: s.checks,
		}, {
			method: http.MethodPost, path: "/checks", of: ofScheduler | ofNode, summary: "Hand the result of a check in; p2pd passes it on to all schedulers",
			takes: api.CheckRun{}, returns: api.Taken{}, serve: s.takeCheck,
		},
	}
}

func (s *Server) images(*http.Request) (any, error) {
	return api.PulledImageList{Meta: api.Of("PulledImageList"), Items: s.cfg.Ledger.Images(time.Now())}, nil
}

func (s *Server) image(r *http.Request) (any, error) {
	d, err := digest(r)
	if err != nil {
		return nil, err
	}
	found, ok := s.cfg.Ledger.Image(time.Now(), d)
	if !ok {
		return nil, absent("no pull of "+d.String()+" is remembered", "a pull is told of once it has ended, and forgotten a day later; GET "+api.Prefix+"/pulls lists what is remembered")
	}
	found.Meta = api.Of("PulledImage")
	return found, nil
}

func (s *Server) incidents(r *http.Request) (any, error) {
	kind := r.URL.Query().Get("kind")
	switch kind {
	case "", api.IncidentRefusal, api.IncidentVerify:
	default:
		return nil, invalid(fmt.Sprintf("kind=%.20q is none", kind), "there are "+api.IncidentRefusal+" and "+api.IncidentVerify)
	}
	return api.IncidentList{Meta: api.Of("IncidentList"), Items: s.cfg.Ledger.Incidents(time.Now(), kind)}, nil
}

func (s *Server) checks(*http.Request) (any, error) {
	return api.CheckRunList{Meta: api.Of("CheckRunList"), Items: s.cfg.Ledger.Checks(time.Now())}, nil
}

// takeCheck takes a run where it is shown, or has p2pd pass it on to there.
func (s *Server) takeCheck(r *http.Request) (any, error) {
	var run api.CheckRun
	if err := read(r, &run); err != nil {
		return nil, err
	}
	if run.Node == "" && run.Peer == "" {
		return nil, invalid("node: it is empty, and so is peer", "say which machine was checked")
	}
	note(r, fmt.Sprintf("check of %.255q, success %t", run.Node, run.Success))
	if s.cfg.Ledger != nil {
		s.cfg.Ledger.Checked(time.Now(), run)
		return api.Taken{Meta: api.Of("Taken"), By: "scheduler"}, nil
	}
	if err := s.cfg.Node.Report(run); err != nil {
		return nil, err
	}
	return api.Taken{Meta: api.Of("Taken"), By: "p2pd"}, nil
}
