package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// MaxManifest is the largest manifest that is read. containerd refuses those
// above about 4.4 MB.
const MaxManifest = 4 << 20

// manifest implements peer.Source without ranges: registries have none for
// manifests.
type manifest struct{ content }

// Manifest is a manifest of a repository. It does no I/O, but fails with
// *UnknownRegistryError for a host that is not allowed. Its Read knows
// nothing but the front: off > 0 gives peer.ErrNoRange.
func (o *Origin) Manifest(host, repo string, d piece.Digest) (peer.Source, error) {
	return o.manifestOf(host, repo, d, nil)
}

func (o *Origin) manifestOf(host, repo string, d piece.Digest, as *right) (peer.Source, error) {
	c, err := o.content(host, repo, d, as)
	if err != nil {
		return nil, err
	}
	return manifest{c}, nil
}

// Read implements peer.Source. The manifest is asked for whole, and cut to n.
func (m manifest) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	q := m.ask(manifestGet)
	switch {
	case off > 0:
		return nil, 0, peer.ErrNoRange
	case off < 0 || n == 0:
		return nil, 0, fmt.Errorf("%s: there are no %d bytes at %d", q, n, off)
	}
	a, err := m.o.manifest(ctx, q)
	if err != nil {
		return nil, 0, err
	}
	size := a.ContentLength
	if size >= 0 {
		if n < 0 || n > size {
			n = size
		}
		return m.o.body(a, n), size, nil
	}
	b, err := m.o.whole(a)
	if err != nil {
		return nil, 0, err
	}
	size = int64(len(b))
	if n >= 0 && n < size {
		b = b[:n]
	}
	return io.NopCloser(bytes.NewReader(b)), size, nil
}

// Stat implements peer.Source.
func (m manifest) Stat(ctx context.Context) (int64, error) {
	size, err := m.head(ctx, manifestHead)
	if err != nil {
		return 0, err
	}
	if size != scheduler.SizeUnknown {
		return size, checkManifestSize(m.ask(manifestHead), size)
	}
	a, err := m.o.manifest(ctx, m.ask(manifestGet))
	if err != nil {
		return 0, err
	}
	b, err := m.o.whole(a)
	return int64(len(b)), err
}

// manifest asks for a manifest whole. If the answer tells its length, that is
// one that may be read.
func (o *Origin) manifest(ctx context.Context, q request) (*answer, error) {
	a, err := o.send(ctx, q)
	if err != nil {
		return nil, err
	}
	if a.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: the origin sent a part where all was asked for", q)
	} else {
		err = checkManifestSize(q, a.ContentLength)
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func checkManifestSize(q request, n int64) error {
	if n > MaxManifest {
		return fmt.Errorf("%s: it has %d bytes; the most that is read is %d", q, n, MaxManifest)
	}
	return nil
}

// whole reads a manifest and closes a. It takes at most MaxManifest bytes of
// memory, whatever the origin says or does not say of its length.
func (o *Origin) whole(a *answer) ([]byte, error) {
	body := o.body(a, a.ContentLength)
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, MaxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, fmt.Errorf("%s: %w", a.question, errors.New("it is empty"))
	}
	return b, checkManifestSize(a.question, int64(len(b)))
}
