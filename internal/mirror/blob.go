package mirror

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// octets is the media type of blobs: what a layer is, only its descriptor
// tells.
const octets = "application/octet-stream"

// answerBlob answers for a blob by digest.
func (m *Mirror) answerBlob(x *exchange) error {
	d := x.target.digest
	size := m.sizes.of(x.host, x.target.name, d)
	if x.r.Method == http.MethodHead && size >= 0 {
		return x.describe(d, size, octets)
	}
	begins := chunk{x.blob(), firstAsked(x.r, d, size)}
	later := isOpenEnded(x.r) && m.chunks.isLater(begins, time.Now())
	x.again = x.r.Method == http.MethodGet && m.chunks.asked(begins, time.Now())
	ctx, cancel := x.promptly(m.arriving(d, size))
	defer cancel()
	c, err := m.openBlob(ctx, x, size)
	if err != nil {
		return m.cutOrRefuse(x, later, size, explain(ctx, err))
	}
	defer c.Close() //nolint:errcheck // only ends a hold
	if x.r.Method == http.MethodHead {
		return x.describe(d, c.Size(), octets)
	}
	defer m.prefetchBeside(x, begins, c.Size())()
	return explain(ctx, x.sendContent(ctx, c, d, octets, later))
}

func (m *Mirror) openBlob(ctx context.Context, x *exchange, size int64) (Content, error) {
	d := x.target.digest
	src, err := x.grant.Blob(d)
	if err != nil {
		return nil, fmt.Errorf("blob %s of %s/%s: %w", d, x.host, x.target.name, err)
	}
	c, err := m.open(ctx, x.r, d, size, src)
	if err != nil {
		return nil, fmt.Errorf("blob %s of %s/%s: %w", d, x.host, x.target.name, err)
	}
	return c, nil
}

// firstAsked is the first byte that a GET asks for; 0 for one without a range.
// size is negative if not known.
func firstAsked(r *http.Request, d piece.Digest, size int64) int64 {
	if r.Method != http.MethodGet || !wantsRange(r, d) {
		return 0
	}
	if size < 0 {
		size = math.MaxInt64
	}
	part, _ := parseRange(r.Header.Values("Range"), size)
	return part.off
}

// cutOrRefuse ends the answer for a blob that could not be opened: as a
// refusal, or where that would fail the whole pull by a body that is cut
// before its first byte (see chunks). It returns err to refuse. size is the
// blob's, negative if not known.
func (m *Mirror) cutOrRefuse(x *exchange, later bool, size int64, err error) error {
	if !later || size < 0 || x.r.Method != http.MethodGet || x.r.Context().Err() != nil {
		return err
	}
	part, answer := parseRange(x.r.Header.Values("Range"), size)
	if answer != partial {
		return err
	}
	x.partHeader(x.target.digest, octets, size, part, partial)
	x.cut(part.off, err)
	return nil
}

// layoutOf is how content is cut, and the last check of its size.
func layoutOf(c Content, d piece.Digest) (piece.Layout, error) {
	l, err := piece.NewLayout(c.Size())
	if err != nil {
		return l, err
	}
	if c.Size() == 0 && d != piece.Sum(nil) {
		return l, fmt.Errorf("%s is not the digest of the empty blob", d)
	}
	return l, nil
}
