package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2pd/p2pd/internal/mirror"
	"github.com/p2pd/p2pd/internal/origin"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// blobs is the engine as the mirror sees it.
type blobs struct{ p *peer.Peer }

func (b blobs) Open(ctx context.Context, d piece.Digest, size int64, src peer.Source) (mirror.Content, error) {
	return b.p.Open(ctx, peer.Ref{Digest: d, Size: size, Source: src})
}

// OpenRanges implements mirror.RangeBlobs.
func (b blobs) OpenRanges(ctx context.Context, d piece.Digest, size int64, src peer.Source, parts []mirror.Span) (mirror.Content, error) {
	spans := make([]peer.Span, 0, len(parts))
	for _, p := range parts {
		spans = append(spans, peer.Span(p))
	}
	return b.p.OpenRanges(ctx, peer.Ref{Digest: d, Size: size, Source: src}, spans)
}

// Prefetch implements mirror.Ahead.
func (b blobs) Prefetch(reading piece.Digest, next []mirror.Wanted) {
	refs := make([]peer.Ref, 0, len(next))
	for _, w := range next {
		refs = append(refs, peer.Ref(w))
	}
	b.p.Prefetch(reading, refs)
}

// Arrival implements mirror.Arrivals.
func (b blobs) Arrival(d piece.Digest) mirror.Arrival {
	bytes, promised := b.p.Arrival(d)
	return mirror.Arrival{Bytes: bytes, Promised: promised}
}

// registriesOf is the origin as the mirror sees it.
type registriesOf struct{ o *origin.Origin }

func (r registriesOf) Resolve(ctx context.Context, host, repo, tag string) (mirror.Descriptor, error) {
	d, err := r.o.Resolve(ctx, host, repo, tag)
	return mirror.Descriptor{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType}, known(err)
}

func (r registriesOf) Blob(host, repo string, d piece.Digest) (peer.Source, error) {
	s, err := r.o.Blob(host, repo, d)
	return s, known(err)
}

func (r registriesOf) Manifest(host, repo string, d piece.Digest) (peer.Source, error) {
	s, err := r.o.Manifest(host, repo, d)
	return s, known(err)
}

// known marks a host that is not allowed in the mirror's words.
func known(err error) error {
	var unknown *origin.UnknownRegistryError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%w: %w", mirror.ErrUnknownRegistry, err)
	}
	return err
}
