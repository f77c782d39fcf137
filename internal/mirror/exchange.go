package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/p2pd/p2pd/internal/pulls"
	"github.com/p2pd/p2pd/internal/tracing"
)

// exchange is one request and what became of it. It hands w to content as it
// is: a wrapper would hide its io.ReaderFrom, and with it sendfile.
type exchange struct {
	m      *Mirror
	w      http.ResponseWriter
	r      *http.Request
	began  time.Time
	target target
	host   string // the registry; empty until known
	byPath bool   // the registry was named by the path, as Podman does
	again  bool   // the last answer to this was cut before its first byte

	grant Grant // to what is asked for, once admitted
	// What Config.Pulls is told at the end (pull.go), and the blob that is sent;
	// nil if none is.
	pull    pulls.Answer
	content Content
	span    *tracing.Request // nil without a Tracer

	status  int   // 0 until the header is sent
	sent    int64 // bytes of content
	outcome Outcome
	err     error // why it is not Served
}

// promptly is the request's context, ended when the client has waited long
// enough for its first byte. reason is a reason to wait for longer, if there
// can be one (see patience).
func (x *exchange) promptly(reason func() bool) (context.Context, context.CancelFunc) {
	cfg := &x.m.cfg
	p := &patience{window: min(cfg.FirstByteTimeout, cfg.WaitLimit), limit: cfg.WaitLimit, reason: reason}
	if x.byPath {
		// Podman and its kin go to their next registry for a manifest only,
		// never for a blob: to be refused early would cost them the pull.
		p.window = p.limit
	}
	return p.wait(x.r.Context(), x.began)
}

// blob is which content is asked for, and where.
func (x *exchange) blob() blobKey { return blobKey{x.host, x.target.name, x.target.digest} }

// header sends the header of an answer.
func (x *exchange) header(status int) {
	x.status = status
	x.w.WriteHeader(status)
}

// send answers with a small body that is no content.
func (x *exchange) send(status int, body []byte) {
	x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	x.header(status)
	x.w.Write(body) //nolint:errcheck // nothing is left to do for this client
}

// refuse answers with an error body. The header must not have been sent.
func (x *exchange) refuse(err error) {
	if x.r.Context().Err() != nil {
		// Nobody is listening, and returning would send an empty 200.
		x.abort(Gone, err)
	}
	if no := refusalIn(err); no != nil {
		x.passOn(no, err)
		return
	}
	f := failureOf(x.target.kind, err)
	x.err, x.outcome = err, Rejected
	switch {
	case f.status == http.StatusNotFound:
		x.outcome = Missing
	case f.status >= http.StatusInternalServerError:
		x.outcome = Failed
	}
	x.w.Header().Set("Content-Type", "application/json")
	x.send(f.status, f.body())
}

// abort closes the connection under the answer and does not return. What was
// written before reaches the client, so that it can resume from there.
func (x *exchange) abort(o Outcome, err error) {
	if x.status != 0 && o != Gone {
		http.NewResponseController(x.w).Flush() //nolint:errcheck // the connection ends either way
	}
	x.outcome, x.err = o, err
	panic(http.ErrAbortHandler)
}

// isGone reports whether a body ended because its reader went away, as
// containerd does after each chunk of a parallel fetch.
func (x *exchange) isGone(err error) bool {
	return x.r.Context().Err() != nil || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// finish counts and logs. thrown is what the handler panicked with, if it
// did: a defect becomes a 500 if the header has not been sent; otherwise the
// connection is aborted.
func (x *exchange) finish(thrown any) {
	aborted := thrown != nil
	if thrown != nil && thrown != http.ErrAbortHandler {
		x.m.log.Error("mirror panicked", "panic", thrown, "stack", string(debug.Stack()))
		if x.status == 0 && x.r.Context().Err() == nil {
			aborted = false
			x.refuse(fail(http.StatusInternalServerError, codeUnknown, "internal error"))
		}
		x.outcome, x.err = Panicked, fmt.Errorf("panic: %v", thrown)
	}
	x.m.counters.ended(Ending{x.m.cfg.Label(x.host), x.target.kind, x.outcome})
	x.pulled()
	x.traced()
	x.note()
	x.log()
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

func (x *exchange) log() {
	level := slog.LevelDebug
	if x.outcome == Failed || x.outcome == Cut {
		level = slog.LevelInfo
	}
	if !x.m.log.Enabled(x.r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", x.r.Method),
		slog.String("path", x.r.URL.Path),
		slog.String("registry", x.host),
		slog.String("range", x.r.Header.Get("Range")),
		slog.Int("status", x.status),
		slog.String("outcome", x.outcome.String()),
		slog.Int64("bytes", x.sent),
		slog.Duration("took", time.Since(x.began)),
	}
	if x.err != nil {
		attrs = append(attrs, slog.Any("err", x.err))
	}
	x.m.log.LogAttrs(x.r.Context(), level, "mirror answered", attrs...)
}
