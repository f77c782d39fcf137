package origin

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Descriptor is what a tag stands for. All of it is set, but MediaType is
// empty where the origin did not say.
type Descriptor struct {
	Digest    piece.Digest
	Size      int64
	MediaType string
	// Stale is how old this answer is, where it is not the origin's own of
	// now; 0 otherwise. A client should be told.
	Stale time.Duration
}

const digestHeader = "Docker-Content-Digest"

// Resolve asks the registry what a tag stands for now. Where a HEAD does not
// tell all, the manifest itself is read and its digest computed. Where nothing
// is answered, and the operator allows it, it is what was answered last.
func (o *Origin) Resolve(ctx context.Context, host, repo, tag string) (Descriptor, error) {
	return o.resolve(ctx, host, repo, tag, nil)
}

func (o *Origin) resolve(ctx context.Context, host, repo, tag string, as *right) (Descriptor, error) {
	if err := checkTag(tag); err != nil {
		return Descriptor{}, err
	}
	up, err := o.upstream(host)
	if err != nil {
		return Descriptor{}, err
	}
	key := tagKey{up.host, repo, tag}
	last, ok := o.tags.get(key, up.stale, time.Now())
	d, err := o.resolveNow(ctx, request{kind: manifestHead, host: up.host, repo: repo, ref: tag, as: as, hurry: ok})
	switch {
	case err == nil && up.stale > 0:
		o.tags.put(key, d, time.Now())
	case err != nil && ok && ctx.Err() == nil && unavailable(err):
		o.stats.stale.Add(1)
		o.cfg.Logger.Info("a tag's last answer is repeated: no endpoint of its registry answers",
			"registry", up.host, "repository", repo, "tag", tag, "age", last.Stale.Round(time.Second), "err", err)
		return last, nil
	}
	return d, err
}

func (o *Origin) resolveNow(ctx context.Context, q request) (Descriptor, error) {
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
