package ctl

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/p2pd/p2pd/internal/api"
)

func (k *checkup) registryChecks() []check {
	return []check{{description: "the registry gives the image", anchor: "registry", look: func(ctx context.Context) (string, error) {
		d, err := remote.Head(k.ref, k.options(ctx)...)
		if err != nil {
			return "", registryTrouble(k.ref, err)
		}
		return d.Digest.String(), nil
	}}}
}

func (k *checkup) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithUserAgent("p2pctl/" + version()), patience()}
}

// patience is with a registry, or a mirror, that fails in a way that may pass:
// less than a second, for who waits for an answer.
func patience() remote.Option {
	return remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Steps: 3})
}

func (k *checkup) pullChecks() []check {
	return []check{
		{description: "p2pd gives the same manifest as the registry", anchor: "pull-manifest", fatal: true, look: k.sameManifest},
		{description: "a layer comes through p2pd, and is what it should be", anchor: "pull-layer", look: k.pullLayer},
		{description: "peers give what they have", anchor: "peers-give", look: k.peersGive},
	}
}

// throughMirror is the image as p2pd's mirror has it.
func (k *checkup) throughMirror(ctx context.Context) (*remote.Descriptor, error) {
	if k.node == nil {
		return nil, skip("p2pd does not answer")
	}
	repo, err := name.NewRepository(strings.TrimPrefix(k.mirror(), "http://")+"/"+k.ref.Context().RepositoryStr(), name.Insecure)
	if err != nil {
		return nil, err
	}
	var ref name.Reference = repo.Digest(k.ref.Identifier())
	if _, byTag := k.ref.(name.Tag); byTag {
		ref = repo.Tag(k.ref.Identifier())
	}
	auth, err := authn.Resolve(ctx, authn.DefaultKeychain, k.ref.Context())
	if err != nil {
		return nil, fmt.Errorf("credentials for %s: %w", k.ref.Context().RegistryStr(), err)
	}
	platform, err := v1.ParsePlatform(k.reg.platform)
	if err != nil {
		return nil, usage("--platform: %w", err)
	}
	d, err := remote.Get(ref, remote.WithContext(ctx), remote.WithAuth(auth), remote.WithPlatform(*platform), patience(), remote.WithUserAgent("p2pctl/"+version()),
		remote.WithTransport(&naming{host: ref.Context().RegistryStr(), ns: originHost(k.ref.Context().RegistryStr())}))
	if err != nil {
		return nil, k.mirrorTrouble(k.image, err)
	}
	return d, nil
}

// originHost is a registry as containerd names it.
func originHost(host string) string {
	if host == name.DefaultRegistry {
		return "docker.io"
	}
	return host
}

// naming tells a mirror which registry is meant, as containerd does.
type naming struct{ host, ns string }

// RoundTrip implements http.RoundTripper.
func (n *naming) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == n.host {
		r = r.Clone(r.Context())
		q := r.URL.Query()
		q.Set("ns", n.ns)
		r.URL.RawQuery = q.Encode()
	}
	return (&http.Transport{DisableKeepAlives: true}).RoundTrip(r) //nolint:forbidigo // what the operator names
}

func (k *checkup) sameManifest(ctx context.Context) (string, error) {
	here, err := k.throughMirror(ctx)
	if err != nil {
		return "", err
	}
	there, err := remote.Head(k.ref, k.options(ctx)...)
	if err != nil {
		return "", skip("the registry does not give it")
	}
	if here.Digest != there.Digest {
		return "", fmt.Errorf("p2pd says that %s is %s, the registry says %s", k.image, here.Digest, there.Digest)
	}
	return here.Digest.String(), nil
}

// pullLayer reads the smallest layer, or the fresh one, through p2pd, which the client library
// checks against its digest, and from the registry.
func (k *checkup) pullLayer(ctx context.Context) (string, error) {
	if k.start && len(k.fresh.blobs) > 0 {
		return "", skip("the runtime is to be the first that pulls it")
	}
	d, err := k.throughMirror(ctx)
	if err != nil {
		return "", err
	}
	img, err := d.Image()
	if err != nil {
		return "", err
	}
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	if len(layers) == 0 {
		return "", skip("the image has no layers")
	}
	small, size, err := smallest(layers)
	if len(k.fresh.blobs) > 0 {
		if small, err = img.LayerByDigest(k.fresh.layer); err == nil {
			size, err = small.Size()
		}
	}
	if err != nil {
		return "", err
	}
	digest, err := small.Digest()
	if err != nil {
		return "", err
	}
	before := k.counted(ctx)
	began := time.Now()
	if err := readAll(small); err != nil {
		return "", k.layerTrouble(ctx, digest, err)
	}
	k.pull = &pullMeasured{Image: k.image, Digest: digest.String(), Bytes: size, Millis: time.Since(began).Milliseconds(), Given: k.given(ctx, digest), began: began}
	k.pull.Usage = used(before, k.counted(ctx))
	if err := k.fromRegistry(ctx, digest); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s in %s, %s%s", bytesText(size), time.Duration(k.pull.Millis)*time.Millisecond, givenText(k.pull.Given), usageText(k.pull.Usage)), nil
}

func smallest(layers []v1.Layer) (small v1.Layer, size int64, err error) {
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			return nil, 0, err
		}
		if small == nil || n < size {
			small, size = l, n
		}
	}
	return small, size, nil
}

// readAll reads a layer to its end, where its digest is checked.
func readAll(l v1.Layer) error {
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

func (k *checkup) fromRegistry(ctx context.Context, digest v1.Hash) error {
	l, err := remote.Layer(k.ref.Context().Digest(digest.String()), k.options(ctx)...)
	if err != nil {
		return err
	}
	if err := readAll(l); err != nil {
		return warn("layer %s came through p2pd, but not from the registry: %w", digest, err)
	}
	return nil
}

// given is who gave the layer to p2pd; nobody, if it was there already.
func (k *checkup) given(ctx context.Context, digest v1.Hash) []api.Given {
	cl, err := k.cli.p2pd()
	if err != nil {
		return nil
	}
	var e api.Explanation
	if err := cl.get(ctx, "/explain", url.Values{"name": {digest.String()}}, &e); err != nil {
		return nil
	}
	return e.Given
}

func givenText(given []api.Given) string {
	b := fromWhom(given)
	switch {
	case b.Peers > 0 && b.Origin > 0:
		return fmt.Sprintf("which p2pd had from peers (%s) and from the registry (%s)", bytesText(b.Peers), bytesText(b.Origin))
	case b.Peers > 0:
		return "which p2pd had from peers"
	case b.Origin > 0:
		return "which p2pd had from the registry"
	}
	return "which was here"
}
