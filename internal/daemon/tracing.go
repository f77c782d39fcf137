package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/p2pd/p2pd/internal/tracing"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// newTracer makes the node's, or nil where none is wanted.
func (n *Node) newTracer(id string) (err error) {
	if !n.cfg.Tracing.Enabled {
		return nil
	}
	n.tracer, err = tracing.New(context.Background(), tracing.Config{
		Service: "p2pd", Version: n.version, Logger: n.log,
		Attributes: map[string]string{"service.instance.id": id, "p2pd.zone": n.cfg.Topology.Zone},
	})
	if err != nil {
		return fmt.Errorf("tracing: %w", err)
	}
	n.journal.Listeners = append(n.journal.Listeners, n.tracer)
	return nil
}

// traced is a source whose reads are spans.
type traced struct {
	peer.Source
	t      *tracing.Tracer
	digest piece.Digest
}

// traced makes spans of a source's reads, if anybody wants them.
func (g gate) traced(s peer.Source, d piece.Digest, err error) (peer.Source, error) {
	if g.tracer == nil || err != nil {
		return s, err
	}
	return traced{s, g.tracer, d}, nil
}

// Read implements peer.Source.
func (s traced) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	end := s.t.OriginRead(s.digest, s.Host(), off, n)
	body, size, err := s.Source.Read(ctx, off, n)
	if err != nil {
		end(0, err)
		return nil, size, err
	}
	return &tracedBody{ReadCloser: body, end: end}, size, nil
}

// tracedBody ends a span when it is closed.
type tracedBody struct {
	io.ReadCloser
	end   func(bytes int64, err error)
	bytes int64
	err   error
}

// Read implements io.Reader.
func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// Close implements io.Closer.
func (b *tracedBody) Close() error {
	b.end(b.bytes, b.err)
	return b.ReadCloser.Close()
}
