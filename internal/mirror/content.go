package mirror

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

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
// can still be told to the client; from then on it succeeds or aborts.
func (x *exchange) sendContent(ctx context.Context, c Content, d piece.Digest, mediaType string) error {
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
	part, answer := byteRange{0, size}, whole
	if wantsRange(x.r, d) {
		part, answer = parseRange(x.r.Header.Values("Range"), size)
	}
	if answer == unsatisfiable {
		x.w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return &failure{http.StatusRequestedRangeNotSatisfiable, codeRangeInvalid,
			fmt.Sprintf("%s has %d bytes", d, size)}
	}
	if part.n > 0 {
		if err := c.Await(ctx, part.off); err != nil {
			return fmt.Errorf("byte %d of %s: %w", part.off, d, err)
		}
	}
	x.partHeader(d, mediaType, size, part, answer)
	x.sendBody(c, layout, part)
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
	x.m.chunks.answered(d)
	h.Set("Content-Range", part.contentRange(size))
	x.header(http.StatusPartialContent)
}

// sendBody sends part, a piece at a time: once a piece's first byte can be
// read all of it can, so a wait for the origin or for peers happens in Await,
// where it is bounded, and a wait for the client in WriteRange, where it may
// take as long as the client likes.
func (x *exchange) sendBody(c Content, layout piece.Layout, part byteRange) {
	for off, end := part.off, part.off+part.n; off < end; {
		if off > part.off {
			x.awaitNext(c, off)
		}
		first, length := layout.Bounds(layout.Index(off))
		want := min(end, first+length) - off
		n, err := c.WriteRange(x.r.Context(), x.w, off, want)
		x.sent += n
		x.m.counters.bytes.Add(uint64(max(0, n)))
		switch {
		case err != nil && x.isGone(err):
			x.abort(Gone, err)
		case err != nil:
			x.abort(Cut, fmt.Errorf("byte %d: %w", off+n, err))
		case n != want:
			x.abort(Cut, fmt.Errorf("byte %d: wrote %d of %d bytes", off, n, want))
		}
		off += n
	}
}

// awaitNext waits for the byte at off, and cuts the body if it does not come
// in time: at least one byte was sent before, so containerd asks for the rest.
func (x *exchange) awaitNext(c Content, off int64) {
	ctx, cancel := context.WithTimeout(x.r.Context(), x.m.cfg.StallTimeout)
	defer cancel()
	err := c.Await(ctx, off)
	switch {
	case err == nil:
	case x.r.Context().Err() != nil:
		x.abort(Gone, err)
	default:
		x.abort(Cut, fmt.Errorf("byte %d: %w", off, err))
	}
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
