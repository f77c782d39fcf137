package transport

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	libpeer "github.com/libp2p/go-libp2p/core/peer"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// The bulk protocol is one request:
//
//	GET /v1/blobs/sha256:<hex>   with   Range: bytes=<first>-<last>
//	                             and, if known, P2pd-Zone: <zone of the child>
//	                             and, if strict, P2pd-Ticket: <ticket, base64url>
//
//	206  the bytes, all of them, with Content-Length
//	400  malformed        403  not admitted
//	404  peer.ErrNotHeld  503  peer.ErrBusy
//
// There are no other methods, paths, ranges or codings. A child that traces its
// pulls adds the header traceparent (W3C Trace Context).
const (
	blobPath = "/v1/blobs/"
	// maxRange is the most bytes in one request: some pieces of the largest
	// size. A child that wants more asks again, and so gets no more than
	// its share of the upload slots.
	maxRange = 4 * piece.MaxSize
	// childHeader names the child where TLS does not (Config.ClearBulk).
	childHeader = "P2pd-Peer"
	// zoneHeader names the child's zone, if it knows it: what goes to other
	// zones has a limit of its own.
	zoneHeader = "P2pd-Zone"

	// ticketHeader has the child's ticket for the blob, in a strict cluster.
	ticketHeader = "P2pd-Ticket"

	// headerTimeout bounds the TLS handshake and the header of a request.
	headerTimeout = 5 * time.Second
	// serveIdle closes connections that children have no more use for. It
	// is above fetchIdle, so that the child is first and no request meets
	// a connection that is being closed.
	serveIdle = 2 * time.Minute
	// maxHeader is ample: a request has five headers, of which a ticket has half a kilobyte.
	maxHeader = 4 << 10
	// unsentMost is how many bytes of an upload may lie in the kernel unsent. A
	// whole piece fits into a socket otherwise, and its slot is free before the
	// line has carried any of it: nobody is ever told to ask somebody else, and
	// requests gather at some peers while the lines of others idle
	// (docs/adr/0020). Half of it lasts 50 µs at 10 Gbit/s, until the next write.
	unsentMost = 128 << 10
)

// server answers children's requests for bulk pieces.
type server struct {
	cfg     Config
	log     *slog.Logger
	count   *counters
	handler peer.Handler
	conns   sync.WaitGroup // connections, each with the request it serves
	buffers sync.Pool      // of *[bulkBuffer]byte
	stall   time.Duration  // stallTimeout, but for tests
}

func newServer(cfg Config, count *counters) *server {
	s := &server{cfg: cfg, log: cfg.Logger, count: count, stall: stallTimeout}
	s.buffers.New = func() any { return new([bulkBuffer]byte) }
	return s
}

// serve answers on listener out of h until ctx ends, and returns after the
// last connection has ended.
func (s *server) serve(ctx context.Context, listener net.Listener, h peer.Handler) error {
	s.handler = h
	h1 := new(http.Protocols)
	h1.SetHTTP1(true) // HTTP/2 would double the CPU cost a byte
	srv := &http.Server{
		Handler:           s,
		Protocols:         h1,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       serveIdle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withChild,
		ConnState:         s.countConn,
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	err := srv.Serve(listener)
	srv.Close()
	s.conns.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve bulk pieces: %w", err)
}

// countConn follows a connection from accept to the end of its goroutine. It
// closes those above the limit as they come: the child sees a failed dial and
// asks somebody else. The kernel is told how much of the others it may hold back.
func (s *server) countConn(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew: // before Serve can return
		s.conns.Add(1)
		if s.count.serveConns.Add(1) > int64(s.cfg.Limits.ServeConns) {
			s.count.connsRefused.Add(1)
			c.Close()
			return
		}
		if raw := rawOf(c); raw != nil {
			_ = setUnsentMost(raw, unsentMost) // without it uploads are only less even
		}
	case http.StateClosed:
		s.count.serveConns.Add(-1)
		s.conns.Done()
	}
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := &response{ResponseWriter: w, control: http.NewResponseController(w), stall: s.stall}
	status, err := s.answer(out, r)
	if err == nil {
		s.count.served.Add(1)
		return
	}
	switch status {
	case http.StatusServiceUnavailable:
		s.count.servesBusy.Add(1)
	case http.StatusNotFound:
		s.count.servesNotHeld.Add(1)
	default:
		s.count.servesFailed.Add(1)
		s.log.Debug("bulk request failed", "from", r.RemoteAddr, "path", r.URL.Path, "err", err)
	}
	if status == 0 {
		panic(http.ErrAbortHandler) // the child must see the end as a break
	}
	out.extend()
	http.Error(out, err.Error(), status)
}

// answer sends the bytes that r asks for. If it fails before the first of
// them, status is what to tell the child; 0 means that it is too late.
func (s *server) answer(w *response, r *http.Request) (status int, err error) {
	d, off, n, err := parseRequest(r)
	if err != nil {
		return http.StatusBadRequest, err
	}
	id, err := s.childOf(r)
	if err != nil {
		// The next request comes over a new connection, and with it a newer
		// credential if there is one.
		w.Header().Set("Connection", "close")
		return http.StatusForbidden, err
	}
	s.takeTicket(id, d, r.Header.Get(ticketHeader))
	ctx := r.Context()
	upload, err := s.handler.Upload(ctx, id, d, off, n)
	switch {
	case errors.Is(err, peer.ErrNotHeld):
		return http.StatusNotFound, err
	case errors.Is(err, peer.ErrBusy), errors.Is(err, peer.ErrClosed):
		return http.StatusServiceUnavailable, err
	case err != nil:
		return http.StatusInternalServerError, fmt.Errorf("open upload: %w", err)
	}
	defer upload.Close()
	ended := s.cfg.Tracer.Upload(d, string(id), off, n, r.Header)
	defer func() { ended(err) }()
	s.count.servesRunning.Add(1)
	defer s.count.servesRunning.Add(-1)

	h := w.Header()
	h["Date"] = nil
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(n, 10))
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", off, off+n-1))
	w.WriteHeader(http.StatusPartialContent)
	sent, err := s.send(ctx, w, upload.Reader, s.limits(r))
	s.count.servedBytes.Add(sent)
	if err == nil && sent != n {
		err = fmt.Errorf("upload ended after %d of %d bytes", sent, n)
	}
	return 0, err
}

// takeTicket takes what a child shows beside its request. One that is no good counts for
// nothing: the Handler refuses what no ticket allows.
func (s *server) takeTicket(id scheduler.PeerID, d piece.Digest, text string) {
	if s.cfg.Tickets == nil || text == "" {
		return
	}
	ticket, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = s.cfg.Tickets.Show(string(id), d, ticket)
	}
	if err != nil {
		s.log.Debug("ticket is no good", "peer", id, "blob", d.Short(), "err", err)
	}
}

// parseRequest reads which bytes of which blob are asked for.
func parseRequest(r *http.Request) (d piece.Digest, off, n int64, err error) {
	name, ok := strings.CutPrefix(r.URL.Path, blobPath)
	if r.Method != http.MethodGet || !ok {
		return d, 0, 0, fmt.Errorf("no such request: %s %.80q", r.Method, r.URL.Path)
	}
	if d, err = piece.ParseDigest(name); err != nil {
		return d, 0, 0, err
	}
	off, n, err = parseRange(r.Header.Get("Range"))
	return d, off, n, err
}

// parseRange reads "bytes=first-last", the one form that is taken.
func parseRange(s string) (off, n int64, err error) {
	spec, unit := strings.CutPrefix(s, "bytes=")
	a, b, dash := strings.Cut(spec, "-")
	first, errA := strconv.ParseUint(a, 10, 63)
	last, errB := strconv.ParseUint(b, 10, 63)
	if !unit || !dash || errA != nil || errB != nil || first > last || last >= piece.MaxBlobSize {
		return 0, 0, fmt.Errorf("range %.80q is not bytes=first-last", s)
	}
	n = int64(last - first + 1)
	if n > maxRange {
		return 0, 0, fmt.Errorf("range of %d bytes is longer than %d", n, maxRange)
	}
	return int64(first), n, nil
}

// child is who is at the other end of one connection.
type child struct {
	once sync.Once
	id   scheduler.PeerID
	err  error
}

type childKey struct{}

func withChild(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, childKey{}, new(child))
}

// childOf is the peer that r comes from, if it is admitted.
func (s *server) childOf(r *http.Request) (scheduler.PeerID, error) {
	c := r.Context().Value(childKey{}).(*child)
	c.once.Do(func() { c.id, c.err = provenChild(r) }) // costs two signatures
	if c.err != nil {
		return "", c.err
	}
	if err := s.cfg.Members.Admit(string(c.id)); err != nil {
		return "", fmt.Errorf("peer is not admitted: %w", err)
	}
	return c.id, nil
}

func provenChild(r *http.Request) (scheduler.PeerID, error) {
	if r.TLS == nil {
		id, err := libpeer.Decode(r.Header.Get(childHeader))
		if err != nil {
			return "", fmt.Errorf("peer does not say who it is: %w", err)
		}
		return scheduler.PeerID(id.String()), nil
	}
	key, err := libp2ptls.PubKeyFromCertChain(r.TLS.PeerCertificates)
	if err != nil {
		return "", fmt.Errorf("peer certificate: %w", err)
	}
	id, err := libpeer.IDFromPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("peer certificate: %w", err)
	}
	return scheduler.PeerID(id.String()), nil
}

// secure puts the libp2p identity's TLS over listener. Any peer may connect;
// who it is comes from its certificate.
func secure(listener net.Listener, identity *identity) net.Listener {
	return tls.NewListener(listener, &tls.Config{
		MinVersion: tls.VersionTLS13,
		// libp2p's configs are good for one handshake each.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return bulkTLS(identity, "")
		},
	})
}

// bulkTLS is the configuration of one connection with the peer of that ID;
// an empty ID accepts any peer that proves one.
func bulkTLS(identity *identity, id libpeer.ID) (*tls.Config, error) {
	config, _, err := identity.config(id)
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{"http/1.1"}
	// Small first records help pages to render, not pieces to arrive.
	config.DynamicRecordSizingDisabled = true
	return config, nil
}
