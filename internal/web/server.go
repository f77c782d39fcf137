package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/internal/api"
)

const (
	// bodyMost bounds a request's body: the largest names a thousand nodes.
	bodyMost = 64 << 10
	// answerWithin bounds what a request may take, but for those that say
	// otherwise.
	answerWithin = 10 * time.Second
)

// Config is what the interface is made of. Guard must be set, and Brain or Node
// or both.
type Config struct {
	Guard Guard
	// TokenKey is the key of the configuration that names the file with the tokens
	// that Guard asks for, for who has none.
	TokenKey string
	// ReadOnly refuses what would change something.
	ReadOnly bool
	Brain    Brain
	// Preheats is of the same scheduler as Brain, and must be set with it.
	Preheats Preheats
	// GRPC makes what answers gRPC requests for preheats; nil: nobody does.
	GRPC func(PreheatDesk) http.Handler
	// Ledger is of that scheduler, and must be set with it.
	Ledger  Ledger
	Node    Node
	Version string
	Started time.Time
	Logger  *slog.Logger // nil logs nothing
}

// Server answers admin requests. It is an http.Handler.
type Server struct {
	cfg Config
	log *slog.Logger
	mux http.Handler
	// page is the live page; nil where there is no scheduler.
	page     http.Handler
	grpc     http.Handler  // nil where nobody answers gRPC
	watchers chan struct{} // one entry each
}

// New makes the interface, with the routes of what there is to ask.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Logger, watchers: make(chan struct{}, watchersMost)}
	if cfg.Brain != nil {
		s.page = newPage()
	}
	if cfg.GRPC != nil {
		s.grpc = cfg.GRPC(PreheatDesk{s})
	}
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		if rt.of&s.parts() != 0 {
			mux.Handle(rt.method+" "+api.Prefix+rt.path, s.answering(rt))
		}
	}
	mux.HandleFunc("GET "+api.Prefix+"/openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		w.Write(document)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, &api.Error{Status: http.StatusNotFound, Message: "there is no " + r.Method + " " + r.URL.Path, Hint: s.absent()})
	})
	// A page of another site in an operator's browser has no say.
	s.mux = http.NewCrossOriginProtection().Handler(mux)
	return s
}

// part is a program that answers, as a bit.
type part uint8

const (
	ofScheduler part = 1 << iota
	ofNode
)

func (s *Server) parts() (p part) {
	if s.cfg.Brain != nil {
		p |= ofScheduler
	}
	if s.cfg.Node != nil {
		p |= ofNode
	}
	return p
}

// absent says what is not to be had here.
func (s *Server) absent() string {
	switch s.parts() {
	case ofScheduler:
		return "this is a scheduler; downloads and caches are asked of the p2pd of a node. " + api.Prefix + "/openapi.yaml lists all paths"
	case ofNode:
		return "this is a p2pd; swarms and peers are asked of the scheduler. " + api.Prefix + "/openapi.yaml lists all paths"
	}
	return api.Prefix + "/openapi.yaml lists all paths"
}

// who is the context's key for who asks.
type who struct{}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if s.page != nil && isPage(r) {
		s.page.ServeHTTP(w, r)
		return
	}
	if s.page != nil && r.URL.Path == "/" {
		http.Redirect(w, r, pagePrefix, http.StatusFound)
		return
	}
	name, err := s.cfg.Guard(r)
	if err != nil {
		s.log.Info("admin request refused", "from", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "err", err)
		h.Set("WWW-Authenticate", `Bearer realm="p2pd admin"`)
		s.refuse(w, &api.Error{Status: http.StatusUnauthorized, Message: err.Error(), Hint: "the token is in the file that " + s.cfg.TokenKey + " names"})
		return
	}
	if s.cfg.ReadOnly && r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.log.Info("admin request refused", "from", r.RemoteAddr, "method", r.Method, "path", r.URL.Path, "err", "this listener changes nothing")
		s.refuse(w, &api.Error{Status: http.StatusForbidden, Message: "nothing can be changed here", Hint: "ask by p2pctl on the scheduler's own machine, or at its admin.listen"})
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), who{}, name))
	if s.grpc != nil && isGRPC(r) {
		s.serveGRPC(w, r)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// answering serves one route.
func (s *Server) answering(rt route) http.Handler {
	if rt.stream != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := rt.stream(w, r); err != nil {
				s.refuse(w, asError(err))
			}
		})
	}
	within := rt.within
	if within == 0 {
		within = answerWithin
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		what := new(string)
		r = r.WithContext(context.WithValue(ctx, details{}, what))
		r.Body = http.MaxBytesReader(w, r.Body, bodyMost)
		answer, err := rt.serve(r)
		if rt.mutates() {
			s.record(ctx, r.Method, r.URL.Path, *what, err)
		}
		if err != nil {
			s.refuse(w, asError(err))
			return
		}
		s.write(w, http.StatusOK, answer)
	})
}

// details is the context's key for what a change is, for the record.
type details struct{}

// note says for the record what is about to be changed.
func note(r *http.Request, what string) {
	if at, ok := r.Context().Value(details{}).(*string); ok {
		*at = what
	}
}

// record is the audit log: who tried to change what.
func (s *Server) record(ctx context.Context, method, path, what string, err error) {
	by, _ := ctx.Value(who{}).(string)
	attrs := []any{"who", by, "method", method, "path", path}
	if what != "" {
		attrs = append(attrs, "what", what)
	}
	if err != nil {
		s.log.Warn("admin change failed", append(attrs, "err", err)...)
		return
	}
	s.log.Info("admin change", attrs...)
}

// asError is err as it is told.
func asError(err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &api.Error{Status: http.StatusGatewayTimeout, Message: "no answer in time: " + err.Error()}
	}
	return &api.Error{Status: http.StatusInternalServerError, Message: err.Error()}
}

func (s *Server) refuse(w http.ResponseWriter, e *api.Error) {
	e.Meta = api.Of("Error")
	s.write(w, e.Status, e)
}

// write sends an answer, or says that there is none.
func (s *Server) write(w http.ResponseWriter, status int, answer any) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(answer); err != nil {
		s.log.Error("admin answer cannot be written", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// read decodes a request's body, strictly.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return invalid("the body is not what was expected: "+err.Error(), api.Prefix+"/openapi.yaml says what is")
	}
	return nil
}

func invalid(message, hint string) error {
	return &api.Error{Status: http.StatusBadRequest, Message: message, Hint: hint}
}

func absent(message, hint string) error {
	return &api.Error{Status: http.StatusNotFound, Message: message, Hint: hint}
}
