package mirror

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// answerTag answers for a manifest by tag. What a tag stands for is always
// asked of the origin: no copy of an answer can know that it still holds.
func (m *Mirror) answerTag(x *exchange) error {
	ctx, cancel := x.promptly(nil)
	defer cancel()
	desc, err := m.resolve(ctx, x)
	if err != nil {
		return fmt.Errorf("resolve %s/%s:%s: %w", x.host, x.target.name, x.target.tag, explain(ctx, err))
	}
	if desc.Digest.IsZero() {
		return fmt.Errorf("resolve %s/%s:%s: the origin named no digest", x.host, x.target.name, x.target.tag)
	}
	x.noteTag(desc.Digest)
	m.cfg.Pulls.Named(x.began, x.pulledTag(desc.Digest), x.kept(desc.Digest))
	x.span.Names(desc.Digest)
	if desc.Size >= 0 {
		if err := fitsDocument(desc.Size); err != nil {
			return err
		}
		m.sizes.learn(x.host, x.target.name, promise{desc.Digest, desc.Size})
		if x.r.Method == http.MethodHead && isManifestType(desc.MediaType) {
			return x.describe(desc.Digest, desc.Size, desc.MediaType)
		}
	}
	return m.answerManifest(x, desc.Digest)
}

// answerManifest answers for a manifest by digest.
func (m *Mirror) answerManifest(x *exchange, d piece.Digest) error {
	ctx, cancel := x.promptly(m.arriving(d, m.sizes.of(x.host, x.target.name, d)))
	defer cancel()
	return explain(ctx, m.sendManifest(ctx, x, d))
}

// sendManifest opens a manifest, reads it for its media type and for the
// sizes of what it lists, and sends it.
func (m *Mirror) sendManifest(ctx context.Context, x *exchange, d piece.Digest) error {
	src, err := x.grant.Manifest(d)
	if err != nil {
		return fmt.Errorf("manifest %s of %s/%s: %w", d, x.host, x.target.name, err)
	}
	size := m.sizes.of(x.host, x.target.name, d)
	if err := fitsDocument(size); err != nil {
		return err
	}
	c, err := m.cfg.Blobs.Open(ctx, d, size, src)
	if err != nil {
		return fmt.Errorf("manifest %s of %s/%s: %w", d, x.host, x.target.name, err)
	}
	defer c.Close() //nolint:errcheck // only ends a hold
	doc, err := m.readDocument(ctx, c)
	if err != nil {
		return fmt.Errorf("manifest %s of %s/%s: %w", d, x.host, x.target.name, err)
	}
	m.sizes.learn(x.host, x.target.name, doc.promises...)
	x.noteManifest(d, len(doc.parts))
	m.cfg.Access.Link(x.host, x.target.name, d, doc.children())
	if x.r.Method == http.MethodHead {
		return x.describe(d, c.Size(), doc.mediaType)
	}
	x.read(d, doc)
	if m.cfg.Ahead != nil {
		m.images.learn(x.host, x.target.name, d, doc.layers, time.Now())
	}
	return x.sendContent(ctx, c, d, doc.mediaType, false)
}

// readDocument reads a manifest whole and parses it. Few are in memory at
// once; the rest wait their turn within ctx.
func (m *Mirror) readDocument(ctx context.Context, c Content) (document, error) {
	size := c.Size()
	if err := fitsDocument(size); err != nil {
		return document{}, err
	}
	if size > 0 {
		// Slots are for what is in memory, not for what is arriving.
		if err := c.Await(ctx, size-1); err != nil {
			return document{}, err
		}
	}
	select {
	case m.parsing <- struct{}{}:
		defer func() { <-m.parsing }()
	case <-ctx.Done():
		return document{}, fmt.Errorf("wait to read it: %w", ctx.Err())
	}
	var buf bytes.Buffer
	buf.Grow(int(size))
	if n, err := c.WriteRange(ctx, &buf, 0, size); err != nil {
		return document{}, fmt.Errorf("read byte %d: %w", n, err)
	}
	if int64(buf.Len()) != size {
		return document{}, fmt.Errorf("read %d of %d bytes", buf.Len(), size)
	}
	doc, err := parseDocument(buf.Bytes())
	if err != nil {
		return document{}, fail(http.StatusNotFound, codeManifestUnknown, "%v", err)
	}
	return doc, nil
}

// fitsDocument refuses what is too long for a manifest.
func fitsDocument(size int64) error {
	if size > maxDocument {
		return fail(http.StatusNotFound, codeManifestUnknown,
			"%d bytes are too many for a manifest: %d are the limit", size, int64(maxDocument))
	}
	return nil
}
