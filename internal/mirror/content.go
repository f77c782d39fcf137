package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// describe answers with the headers of content alone.
func (x *exchange) describe(d piece.Digest, size int64, mediaType string) error {
	x.identify(d)
	if notModified(x.r, d) {
		x.header(http.StatusNotModified)
		return nil
	}
	x.w.Header().Set("Content-Type", mediaType)
	x.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	x.header(http.StatusOK)
	return nil
}

// sendContent answers a GET with content or the range of it that is asked
// for. Until the first byte can be read, within ctx, it returns errors that
// can still be told to the client; from then on it succeeds or aborts. later
// says that the client must not be told of errors, and has its header at once
// (see chunks).
func (x *exchange) sendContent(ctx context.Context, c Content, d piece.Digest, mediaType string, later bool) error {
	layout, err := layoutOf(c, d)
	if err != nil {
		return err
	}
	if notModified(x.r, d) {
		x.identify(d)
		x.header(http.StatusNotModified)
		return nil
	}
	size := layout.Size()
	parts, answer := []byteRange{{0, size}}, whole
	if wantsRange(x.r, d) {
		parts, answer = parseRanges(x.r.Header.Values("Range"), size)
	}
	part := parts[0]
	if answer == unsatisfiable {
		x.w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return &failure{http.StatusRequestedRangeNotSatisfiable, codeRangeInvalid,
			fmt.Sprintf("%s has %d bytes", d, size)}
	}
	later = later && answer == partial && len(parts) == 1
	if part.n > 0 && !later {
		if err := x.firstByte(ctx, c, part.off); err != nil {
			return fmt.Errorf("byte %d of %s: %w", part.off, d, err)
		}
	}
	if x.target.kind == Blob {
		x.sending(c, singleStart(parts))
	}
	if len(parts) > 1 {
		x.sendParts(c, d, layout, mediaType, parts)
		return nil
	}
	if answer == partial && isOpenEnded(x.r) {
		defer x.m.chunks.answered(chunk{x.blob(), part.off}, time.Now())()
	}
	x.partHeader(d, mediaType, size, part, answer)
	if later {
		// A client that has its header does not give up on it.
		http.NewResponseController(x.w).Flush() //nolint:errcheck // the body will fail the same way
		x.awaitNext(c, d, layout, part.off, part.off)
	}
	x.sendBody(c, d, layout, part)
	return nil
}

// singleStart is where the one part begins; negative if there are several.
func singleStart(parts []byteRange) int64 {
	if len(parts) > 1 {
		return -1
	}
	return parts[0].off
}

// firstByte returns once the byte at off can be read. Where an earlier answer
// ended without any byte, it is read indeed: a second such answer could fail
// the pull.
func (x *exchange) firstByte(ctx context.Context, c Content, off int64) error {
	if err := c.Await(ctx, off); err != nil {
		return err
	}
	if !x.again {
		return nil
	}
	if n, err := c.WriteRange(ctx, io.Discard, off, 1); n != 1 {
		return errors.Join(errors.New("it cannot be read"), err)
	}
	return nil
}

// partHeader sends the header of a 200 or 206.
func (x *exchange) partHeader(d piece.Digest, mediaType string, size int64, part byteRange, answer rangeAnswer) {
	x.identify(d)
	h := x.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.FormatInt(part.n, 10))
	if answer != partial {
		x.header(http.StatusOK)
		return
	}
	h.Set("Content-Range", part.contentRange(size))
	x.header(http.StatusPartialContent)
}

// writeStep bounds what is written between two looks whether the client is
// still there: containerd drops the connection after each chunk of a parallel
// fetch. One step costs microseconds, and is the smallest piece.
const writeStep = 1 << 20

// sendBody sends part, at most a piece at a time: once a piece's first byte
// can be read all of it can, so a wait for the origin or for peers happens in
// Await, where it is bounded, and a wait for the client in WriteRange, where
// it may take as long as the client likes. The first byte can be read.
func (x *exchange) sendBody(c Content, d piece.Digest, layout piece.Layout, part byteRange) {
	for off, end := part.off, part.off+part.n; off < end; {
		first, length := layout.Bounds(layout.Index(off))
		if off == first && off > part.off {
			x.awaitNext(c, d, layout, part.off, off)
		}
		if err := x.r.Context().Err(); err != nil {
			x.abort(Gone, err)
		}
		want := min(end, first+length, off+writeStep) - off
		n, err := c.WriteRange(x.r.Context(), x.w, off, want)
		x.sent += n
		x.m.counters.bytes.Add(uint64(max(0, n)))
		switch {
		case err != nil && x.isGone(err):
			x.abort(Gone, err)
		case err != nil:
			x.cut(part.off, fmt.Errorf("byte %d: %w", off+n, err))
		case n != want:
			x.cut(part.off, fmt.Errorf("byte %d: wrote %d of %d bytes", off, n, want))
		}
		off += n
	}
}

// awaitNext waits for the byte at off of a body that began at start, and cuts
// it if the byte does not come in time. Mostly at least one byte was sent
// before, and containerd asks for the rest; a body without any is cut only
// where to refuse would have been worse.
func (x *exchange) awaitNext(c Content, d piece.Digest, layout piece.Layout, start, off int64) {
	cfg := &x.m.cfg
	p := &patience{
		window: min(cfg.StallTimeout, cfg.WaitLimit), limit: cfg.WaitLimit,
		reason: x.m.arriving(d, layout.Size()),
	}
	if isOpenEnded(x.r) {
		p.exempt = func() bool { return !x.m.chunks.isFirst(chunk{x.blob(), start}) }
	}
	ctx, cancel := p.wait(x.r.Context(), time.Now())
	defer cancel()
	err := c.Await(ctx, off)
	switch {
	case err == nil:
	case x.r.Context().Err() != nil:
		x.abort(Gone, err)
	default:
		x.cut(start, fmt.Errorf("byte %d: %w", off, explain(ctx, err)))
	}
}

// cut aborts a body that began at start and does not return.
func (x *exchange) cut(start int64, err error) {
	if x.sent == 0 {
		x.m.chunks.cut(chunk{x.blob(), start}, time.Now())
	}
	x.abort(Cut, err)
}

// identify sets the headers that say which content it is.
func (x *exchange) identify(d piece.Digest) {
	h := x.w.Header()
	h.Set("Docker-Content-Digest", d.String())
	h.Set("ETag", etag(d))
	h.Set("Accept-Ranges", "bytes")
}

// etag is a strong one: a digest names the very bytes.
func etag(d piece.Digest) string { return `"` + d.String() + `"` }

// notModified reports whether the client says that it has the content.
func notModified(r *http.Request, d piece.Digest) bool {
	for _, header := range r.Header.Values("If-None-Match") {
		for tag := range strings.SplitSeq(header, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || tag == etag(d) {
				return true
			}
		}
	}
	return false
}

// wantsRange reports whether the Range header counts: not where If-Range
// names other content.
func wantsRange(r *http.Request, d piece.Digest) bool {
	condition := r.Header.Get("If-Range")
	return condition == "" || condition == etag(d)
}
