package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// content is a digest in a repository.
type content struct {
	o          *Origin
	host, repo string
	digest     piece.Digest
	as         *right
}

// content binds a digest to a repository. It does no I/O.
func (o *Origin) content(host, repo string, d piece.Digest, as *right) (content, error) {
	up, err := o.upstream(host)
	if err != nil {
		return content{}, err
	}
	if err := checkRepository(repo); err != nil {
		return content{}, err
	}
	return content{o, up.host, repo, d, as}, nil
}

// Host implements peer.Source.
func (c content) Host() string { return c.host }

// ask makes a request for the content.
func (c content) ask(k kind) request {
	return request{kind: k, host: c.host, repo: c.repo, ref: c.digest.String(), as: c.as}
}

// blob implements peer.Source by ranges.
type blob struct{ content }

// Blob is a blob of a repository. It does no I/O, but fails with
// *UnknownRegistryError for a host that is not allowed.
func (o *Origin) Blob(host, repo string, d piece.Digest) (peer.Source, error) {
	return o.blob(host, repo, d, nil)
}

func (o *Origin) blob(host, repo string, d piece.Digest, as *right) (peer.Source, error) {
	c, err := o.content(host, repo, d, as)
	if err != nil {
		return nil, err
	}
	return blob{c}, nil
}

// Read implements peer.Source.
func (b blob) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	body, s, err := b.open(ctx, off, n)
	if err != nil {
		return nil, 0, err
	}
	if s.length < 0 || s.size == scheduler.SizeUnknown {
		return body, s.size, nil // nobody can tell that it ends early
	}
	return &resumed{b: b, ctx: ctx, next: off, end: off + s.length, size: s.size, body: body}, s.size, nil
}

// open asks for [off, off+n) once.
func (b blob) open(ctx context.Context, off, n int64) (*body, span, error) {
	q := b.ask(blobGet)
	if off < 0 || off > piece.MaxBlobSize || n == 0 || n > piece.MaxBlobSize {
		return nil, span{}, fmt.Errorf("%s: there are no %d bytes at %d", q, n, off)
	}
	switch {
	case n > 0:
		q.byteRange = fmt.Sprintf("bytes=%d-%d", off, off+n-1)
	case off > 0:
		q.byteRange = fmt.Sprintf("bytes=%d-", off)
	}
	a, err := b.o.send(ctx, q)
	if err != nil {
		return nil, span{}, err
	}
	s, err := a.span(off, n)
	if err != nil {
		a.close()
		return nil, span{}, fmt.Errorf("%s: %w", q, err)
	}
	return b.o.body(a, s.length), s, nil
}

// span is what a holds in answer to a read of [off, off+n). Its length is
// negative where only the end of the body will tell.
func (a *answer) span(off, n int64) (span, error) {
	partial := a.StatusCode == http.StatusPartialContent
	asked := a.question.byteRange != ""
	s := span{length: a.ContentLength, size: a.ContentLength}
	switch {
	case partial && asked:
		var err error
		if s, err = parseContentRange(a.Header.Get("Content-Range")); err != nil {
			return s, fmt.Errorf("the origin's %w", err)
		}
		if err := s.check(off, n, a.ContentLength); err != nil {
			return s, err
		}
	case partial:
		return s, errors.New("the origin sent a part where all was asked for")
	case asked && (off > 0 || n < 0 || n != a.ContentLength):
		return s, peer.ErrNoRange
	case s.size < 0:
		s.size = scheduler.SizeUnknown
	}
	if s.size > piece.MaxBlobSize {
		return s, fmt.Errorf("the origin says that it has %d bytes; the most that is read is %d", s.size, int64(piece.MaxBlobSize))
	}
	return s, nil
}

// Stat implements peer.Source. Where a HEAD does not tell, the first byte is
// asked for: its Content-Range does.
func (b blob) Stat(ctx context.Context) (int64, error) {
	size, err := b.head(ctx, blobHead)
	if size != scheduler.SizeUnknown || err != nil {
		return size, err
	}
	q := b.ask(blobGet)
	q.byteRange = "bytes=0-0"
	a, err := b.o.send(ctx, q)
	if err != nil {
		return 0, err
	}
	defer a.close()
	if a.StatusCode == http.StatusOK && a.ContentLength >= 0 {
		return a.ContentLength, nil
	}
	s, err := a.span(0, 1)
	if err == nil && s.size == scheduler.SizeUnknown {
		err = errors.New("the origin does not tell the size")
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", q, err)
	}
	return s.size, nil
}

// head asks for the size by a HEAD. It is scheduler.SizeUnknown where the
// registry has no answer to that.
func (c content) head(ctx context.Context, k kind) (int64, error) {
	a, err := c.o.send(ctx, c.ask(k))
	if refusedWith(err, http.StatusMethodNotAllowed, http.StatusNotImplemented) {
		return scheduler.SizeUnknown, nil
	}
	if err != nil {
		return 0, err
	}
	defer a.close()
	if a.ContentLength < 0 {
		return scheduler.SizeUnknown, nil
	}
	return a.ContentLength, nil
}
