package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
)

// Descriptor is what a tag stands for.
type Descriptor struct {
	Digest    piece.Digest
	Size      int64
	MediaType string
}

// Resolve asks the registry what a tag stands for now. Where a HEAD does not
// tell all, the manifest itself is read and its digest computed.
func (o *Origin) Resolve(ctx context.Context, host, repo, tag string) (Descriptor, error) {
	resp, err := o.request(ctx, http.MethodHead, host, repo, "manifests", tag, "")
	var refused *peer.OriginError
	switch {
	case err == nil:
		_ = resp.Body.Close()
		d, err := piece.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
		if err == nil && resp.ContentLength >= 0 {
			return Descriptor{Digest: d, Size: resp.ContentLength, MediaType: resp.Header.Get("Content-Type")}, nil
		}
	case errors.As(err, &refused) && refused.Status == http.StatusMethodNotAllowed:
	default:
		return Descriptor{}, err
	}
	return o.resolveByGet(ctx, host, repo, tag)
}

func (o *Origin) resolveByGet(ctx context.Context, host, repo, tag string) (Descriptor, error) {
	ctx, cancel := context.WithCancel(ctx)
	resp, err := o.request(ctx, http.MethodGet, host, repo, "manifests", tag, "")
	if err != nil {
		cancel()
		return Descriptor{}, err
	}
	body := o.body(ctx, cancel, resp, MaxManifest+1)
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return Descriptor{}, fmt.Errorf("manifest %s/%s:%s: %w", host, repo, tag, err)
	}
	if len(b) > MaxManifest {
		return Descriptor{}, fmt.Errorf("manifest %s/%s:%s has more than %d bytes", host, repo, tag, MaxManifest)
	}
	d := piece.Sum(b)
	if said := resp.Header.Get("Docker-Content-Digest"); said != "" && said != d.String() {
		return Descriptor{}, fmt.Errorf("manifest %s/%s:%s: origin says %.80q, its bytes are %s", host, repo, tag, said, d)
	}
	return Descriptor{Digest: d, Size: int64(len(b)), MediaType: resp.Header.Get("Content-Type")}, nil
}
