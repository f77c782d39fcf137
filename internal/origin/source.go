package origin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// MaxManifest is the largest manifest that is read. containerd refuses those
// above about 4.4 MB.
const MaxManifest = 4 << 20

// accept lists every kind of manifest that registries keep.
var accept = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
	"*/*;q=0.5",
}, ", ")

// source is one blob or manifest of one repository. It implements
// peer.Source.
type source struct {
	o        *Origin
	host     string
	repo     string
	digest   piece.Digest
	manifest bool
}

// Blob is a blob of a repository. It does no I/O, but fails with
// *UnknownRegistryError for a host that is not allowed.
func (o *Origin) Blob(host, repo string, d piece.Digest) (peer.Source, error) {
	_, err := o.endpoint(host)
	return &source{o: o, host: host, repo: repo, digest: d}, err
}

// Manifest is a manifest of a repository, as Blob.
func (o *Origin) Manifest(host, repo string, d piece.Digest) (peer.Source, error) {
	_, err := o.endpoint(host)
	return &source{o: o, host: host, repo: repo, digest: d, manifest: true}, err
}

// Host implements peer.Source.
func (s *source) Host() string { return strings.ToLower(s.host) }

func (s *source) kind() string {
	if s.manifest {
		return "manifests"
	}
	return "blobs"
}

// request sends one request for this content.
func (s *source) request(ctx context.Context, method, byteRange string) (*http.Response, error) {
	return s.o.request(ctx, method, s.host, s.repo, s.kind(), s.digest.String(), byteRange)
}

// request sends one request and returns a successful answer.
func (o *Origin) request(ctx context.Context, method, host, repo, kind, ref, byteRange string) (*http.Response, error) {
	client, base, err := o.client(ctx, host, repo)
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: base.Scheme, Host: base.Host, Path: "/v2/" + repo + "/" + kind + "/" + ref}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s of %s/%s: %w", kind, host, repo, err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if kind == "manifests" {
		req.Header.Set("Accept", accept)
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := client.Do(req)
	o.stats.request(kind, resp, err)
	if err != nil {
		return nil, fmt.Errorf("%s %s of %s/%s at the origin: %w", strings.ToLower(method), kind, host, repo, refusalOf(withoutURL(err)))
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusal(resp)
	}
	if ce := resp.Header.Get("Content-Encoding"); ce != "" && ce != "identity" {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("origin %s encodes %s as %q", host, kind, clean(ce))
	}
	return resp, nil
}

// withoutURL takes the URL out of an HTTP client's error: redirects carry
// signatures in their queries.
func withoutURL(err error) error {
	if u, ok := err.(*url.Error); ok { //nolint:errorlint // the outermost alone has the URL
		return u.Err
	}
	return err
}

// Stat implements peer.Source.
func (s *source) Stat(ctx context.Context) (int64, error) {
	resp, err := s.request(ctx, http.MethodHead, "")
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	if resp.ContentLength < 0 {
		return 0, fmt.Errorf("origin %s does not tell the size of %s", s.host, s.digest)
	}
	return resp.ContentLength, s.checkSize(resp.ContentLength)
}

func (s *source) checkSize(n int64) error {
	if s.manifest && n > MaxManifest {
		return fmt.Errorf("manifest %s has %d bytes; the most that is read is %d", s.digest, n, MaxManifest)
	}
	return nil
}

// Read implements peer.Source. Manifests have no ranges: a read of the front
// gets all of it, cut to what was asked for.
func (s *source) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	if s.manifest {
		return s.readManifest(ctx, off, n)
	}
	want := ""
	if off > 0 || n >= 0 {
		want = fmt.Sprintf("bytes=%d-", off)
		if n >= 0 {
			want += strconv.FormatInt(off+n-1, 10)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	resp, err := s.request(ctx, http.MethodGet, want)
	if err != nil {
		cancel()
		return nil, 0, err
	}
	size := resp.ContentLength
	if size < 0 {
		size = scheduler.SizeUnknown
	}
	length := n
	switch {
	case want == "" && resp.StatusCode == http.StatusOK:
	case want != "" && resp.StatusCode == http.StatusPartialContent:
		size, length, err = checkRange(resp, off, n)
	case want != "" && resp.StatusCode == http.StatusOK && off == 0 && resp.ContentLength == n:
	case want != "" && resp.StatusCode == http.StatusOK:
		err = peer.ErrNoRange
	default:
		err = fmt.Errorf("origin %s answered %d to a read", s.host, resp.StatusCode)
	}
	if err != nil {
		cancel()
		_ = resp.Body.Close()
		return nil, 0, err
	}
	return s.o.body(ctx, cancel, resp, length), size, nil
}

func (s *source) readManifest(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	if off > 0 {
		return nil, 0, peer.ErrNoRange
	}
	ctx, cancel := context.WithCancel(ctx)
	resp, err := s.request(ctx, http.MethodGet, "")
	if err != nil {
		cancel()
		return nil, 0, err
	}
	size := resp.ContentLength
	if size < 0 {
		size = scheduler.SizeUnknown
	} else if err := s.checkSize(size); err != nil {
		cancel()
		_ = resp.Body.Close()
		return nil, 0, err
	}
	if n < 0 || n > MaxManifest {
		n = MaxManifest
	}
	return s.o.body(ctx, cancel, resp, n), size, nil
}
