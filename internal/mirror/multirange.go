package mirror

import (
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/p2pd/p2pd/pkg/piece"
)

// maxRanges bounds the ranges of one request. Snapshotters ask for what a few
// files need; whoever asks for more is given the whole blob.
const maxRanges = 64

// parseRanges reads the Range headers of a GET of a blob of size bytes that
// may ask for several ranges. With partial, there is at least one; in all other
// cases the one is what parseRange says. As RFC 9110 §14.2 suggests, a request
// for more than the whole blob, in total, is for the whole blob.
func parseRanges(headers []string, size int64) ([]byteRange, rangeAnswer) {
	one, answer := parseRange(headers, size)
	if answer != whole || len(headers) != 1 || size == 0 {
		return []byteRange{one}, answer
	}
	unit, list, _ := strings.Cut(headers[0], "=")
	var parts []byteRange
	total, n := int64(0), 0
	for spec := range strings.SplitSeq(list, ",") {
		part, answer := parseRange([]string{unit + "=" + strings.Trim(spec, " \t")}, size)
		switch {
		case n == maxRanges || answer == whole:
			return []byteRange{one}, whole
		case answer == unsatisfiable: // past the end, and left out
		case part.n > size-total:
			return []byteRange{one}, whole
		default:
			parts, total = append(parts, part), total+part.n
		}
		n++
	}
	if len(parts) == 0 {
		return []byteRange{one}, unsatisfiable
	}
	return parts, partial
}

// sendParts answers with several ranges, the first byte of which can be read.
func (x *exchange) sendParts(c Content, d piece.Digest, layout piece.Layout, mediaType string, parts []byteRange) {
	var length countingWriter
	form := multipart.NewWriter(&length)
	boundary := form.Boundary()
	writeParts(form, layout.Size(), mediaType, parts, func(part byteRange) { length += countingWriter(part.n) }) //nolint:errcheck // a countingWriter never fails

	x.identify(d)
	x.w.Header().Set("Content-Type", "multipart/byteranges; boundary="+boundary)
	x.w.Header().Set("Content-Length", strconv.FormatInt(int64(length), 10))
	x.header(http.StatusPartialContent)
	form = multipart.NewWriter(x.w)
	if err := form.SetBoundary(boundary); err != nil {
		panic(err) // it is another Writer's
	}
	err := writeParts(form, layout.Size(), mediaType, parts, func(part byteRange) {
		if x.sent > 0 {
			x.awaitNext(c, d, layout, part.off, part.off)
		}
		x.sendBody(c, d, layout, part)
	})
	if err != nil {
		x.abort(Gone, err)
	}
}

// writeParts writes the frame of a multipart body, and has each part's bytes
// written by send.
func writeParts(form *multipart.Writer, size int64, mediaType string, parts []byteRange, send func(byteRange)) error {
	for _, part := range parts {
		_, err := form.CreatePart(textproto.MIMEHeader{
			"Content-Range": {part.contentRange(size)}, "Content-Type": {mediaType},
		})
		if err != nil {
			return fmt.Errorf("write the header of a part: %w", err)
		}
		send(part)
	}
	return form.Close()
}

// countingWriter counts what is written to it.
type countingWriter int64

func (c *countingWriter) Write(p []byte) (int, error) {
	*c += countingWriter(len(p))
	return len(p), nil
}
