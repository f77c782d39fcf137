package origin

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Descriptor is what a tag stands for. All of it is set, but MediaType is
// empty where the origin did not say.
type Descriptor struct {
	Digest    piece.Digest
	Size      int64
	MediaType string
}

const digestHeader = "Docker-Content-Digest"

// Resolve asks the registry what a tag stands for now. Where a HEAD does not
// tell all, the manifest itself is read and its digest computed.
func (o *Origin) Resolve(ctx context.Context, host, repo, tag string) (Descriptor, error) {
	if err := checkTag(tag); err != nil {
		return Descriptor{}, err
	}
	q := request{kind: manifestHead, host: strings.ToLower(host), repo: repo, ref: tag}
	a, err := o.send(ctx, q)
	if refusedWith(err, http.StatusMethodNotAllowed, http.StatusNotImplemented) {
		return o.resolveByGet(ctx, q)
	}
	if err != nil {
		return Descriptor{}, err
	}
	a.close()
	d, err := piece.ParseDigest(a.Header.Get(digestHeader))
	if err != nil || a.ContentLength <= 0 { // no manifest is empty
		return o.resolveByGet(ctx, q)
	}
	return Descriptor{Digest: d, Size: a.ContentLength, MediaType: mediaType(a.Header)}, checkManifestSize(q, a.ContentLength)
}

func (o *Origin) resolveByGet(ctx context.Context, q request) (Descriptor, error) {
	q.kind = manifestGet
	a, err := o.manifest(ctx, q)
	if err != nil {
		return Descriptor{}, err
	}
	b, err := o.whole(a)
	if err != nil {
		return Descriptor{}, err
	}
	d := piece.Sum(b)
	// A digest of another algorithm cannot be held against ours.
	if said, err := piece.ParseDigest(a.Header.Get(digestHeader)); err == nil && said != d {
		return Descriptor{}, fmt.Errorf("%s: the origin says that it is %s, but its bytes are %s", q, said, d)
	}
	return Descriptor{Digest: d, Size: int64(len(b)), MediaType: mediaType(a.Header)}, nil
}

// mediaType is the Content-Type without parameters, if it is one.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || len(t) > maxMessage {
		return ""
	}
	return t
}
