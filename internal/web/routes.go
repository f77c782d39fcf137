package web

import (
	_ "embed" // for the document
	"net/http"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/api"
)

// document says all of this to programs. A test writes it from the routes and
// the types of internal/api, and fails while it differs.
//
//go:embed openapi.yaml
var document []byte

// route is one thing that can be asked.
type route struct {
	method, path string
	of           part
	summary      string
	query        []param
	takes        any // of the type of the body; nil: none
	returns      any // of the type of the answer
	// within bounds what it may take; 0 is answerWithin.
	within time.Duration
	serve  func(r *http.Request) (any, error)
	// stream, in place of serve, sends events of type returns for as long as
	// the client likes. It fails only before the first.
	stream func(w http.ResponseWriter, r *http.Request) error
}

// mutates reports whether a route changes something.
func (rt route) mutates() bool { return rt.method != http.MethodGet }

// param is a query parameter.
type param struct{ name, kind, text string }

// routes are all there are, whether or not there is a program here that answers
// them.
func (s *Server) routes() []route {
	return append([]route{{
		method: http.MethodGet, path: "/status", of: ofScheduler | ofNode,
		summary: "How the program is", returns: api.Status{}, serve: s.status,
	}}, slices.Concat(s.schedulerRoutes(), s.preheatRoutes(), s.reportRoutes(), s.nodeRoutes())...)
}

func (s *Server) status(r *http.Request) (any, error) {
	st := api.Status{
		Meta: api.Of("Status"), Version: s.cfg.Version, Started: s.cfg.Started.UTC(),
		UptimeSeconds: int64(time.Since(s.cfg.Started) / time.Second),
	}
	if s.cfg.Brain != nil {
		found, err := s.schedulerStatus(r.Context())
		if err != nil {
			return nil, err
		}
		st.Scheduler = &found
	}
	if s.cfg.Node != nil {
		found, err := s.cfg.Node.Status(r.Context())
		if err != nil {
			return nil, err
		}
		st.Node = &found
	}
	return st, nil
}
