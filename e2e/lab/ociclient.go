package lab

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// PullSpec is one pull of a small OCI client: a stand-in for containerd that
// writes nothing, for measuring what brings the bytes.
type PullSpec struct {
	Base       string // of the mirror or the registry, http://HOST:PORT
	Host       string // ns parameter for a mirror; empty: Base is the registry
	Repository string
	Tag        string
	Start      time.Time // when to begin; zero: at once
	// Known are blobs whose CRC is compared instead of their digest: where
	// many clients share a machine's cores, that is a tenth of the work, and
	// p2pd checks digests anyhow.
	Known []Blob
	// AtOnce is how many layers are asked for at a time; 0: as containerd.
	AtOnce int
}

// PullReport is what came of it.
type PullReport struct {
	Digest  string
	Bytes   int64   // of configuration and layers
	Seconds float64 // from Start
	Blobs   []BlobReport
}

// BlobReport is one blob's part in a pull.
type BlobReport struct {
	Digest  string
	Bytes   int64
	First   float64 // seconds until the first byte
	Seconds float64
}

const (
	// layersAtOnce is containerd's max_concurrent_downloads.
	layersAtOnce = 3
	// maxManifest bounds what is read as a manifest.
	maxManifest = 4 << 20
)

// Pull does what containerd does: HEAD the tag, GET the manifest by digest,
// the configuration, and the layers three or AtOnce at a time. It fails if any digest
// or length is not what it should be.
func Pull(ctx context.Context, s PullSpec) (PullReport, error) {
	if s.AtOnce == 0 {
		s.AtOnce = layersAtOnce
	}
	c := &client{spec: s, http: &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: s.AtOnce, DisableCompression: true,
	}}}
	defer c.http.CloseIdleConnections()
	if err := sleepUntil(ctx, s.Start); err != nil {
		return PullReport{}, err
	}
	began := time.Now()
	digest, err := c.resolve(ctx)
	if err != nil {
		return PullReport{}, err
	}
	m, err := c.manifest(ctx, digest)
	if err != nil {
		return PullReport{}, err
	}
	report := PullReport{Digest: digest, Blobs: make([]BlobReport, 1+len(m.Layers))}
	if report.Blobs[0], err = c.blob(ctx, m.Config); err != nil {
		return PullReport{}, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.AtOnce)
	for i, l := range m.Layers {
		g.Go(func() (err error) {
			report.Blobs[1+i], err = c.blob(ctx, l)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return PullReport{}, err
	}
	for _, b := range report.Blobs {
		report.Bytes += b.Bytes
	}
	report.Seconds = time.Since(began).Seconds()
	return report, nil
}

func sleepUntil(ctx context.Context, t time.Time) error {
	if t.IsZero() {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(t)):
		return nil
	}
}

type client struct {
	spec PullSpec
	http *http.Client
}

func (c *client) do(ctx context.Context, method, kind, ref string) (*http.Response, error) {
	u := c.spec.Base + "/v2/" + c.spec.Repository + "/" + kind + "/" + ref
	if c.spec.Host != "" {
		u += "?ns=" + url.QueryEscape(c.spec.Host)
	}
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "lab-client")
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, */*")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s %s: %s", method, u, resp.Status)
	}
	return resp, nil
}

func (c *client) resolve(ctx context.Context) (string, error) {
	resp, err := c.do(ctx, http.MethodHead, "manifests", c.spec.Tag)
	if err != nil {
		return "", fmt.Errorf("resolve tag: %w", err)
	}
	_ = resp.Body.Close()
	digest := resp.Header.Get("Docker-Content-Digest")
	if digest == "" {
		return "", errors.New("resolve tag: no Docker-Content-Digest")
	}
	return digest, nil
}

func (c *client) manifest(ctx context.Context, digest string) (*v1.Manifest, error) {
	resp, err := c.do(ctx, http.MethodGet, "manifests", digest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if sum := sha256.Sum256(b); "sha256:"+hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("manifest: %d bytes are not %s", len(b), digest)
	}
	var m v1.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return &m, nil
}

func (c *client) blob(ctx context.Context, d v1.Descriptor) (BlobReport, error) {
	began := time.Now()
	resp, err := c.do(ctx, http.MethodGet, "blobs", d.Digest.String())
	if err != nil {
		return BlobReport{}, fmt.Errorf("blob: %w", err)
	}
	defer resp.Body.Close()
	body := bufio.NewReaderSize(resp.Body, 256<<10)
	_, _ = body.Peek(1) // an error shows in the copy
	first := time.Since(began).Seconds()
	sum := &measure{Hash: sha256.New()}
	want, err := hex.DecodeString(d.Digest.Hex)
	if err != nil {
		return BlobReport{}, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	if i := slices.IndexFunc(c.spec.Known, func(b Blob) bool { return b.Digest == d.Digest.String() && b.CRC != 0 }); i >= 0 {
		sum.Hash = crc32.New(castagnoli)
		want = binary.BigEndian.AppendUint32(nil, c.spec.Known[i].CRC)
	}
	if _, err := body.WriteTo(sum); err != nil {
		return BlobReport{}, fmt.Errorf("blob %s after %d of %d bytes: %w", d.Digest, sum.n, d.Size, err)
	}
	if got := sum.Sum(nil); !bytes.Equal(got, want) || sum.n != d.Size {
		return BlobReport{}, fmt.Errorf("blob %s of %d bytes: got %d bytes with the sum %x instead of %x", d.Digest, d.Size, sum.n, got, want)
	}
	return BlobReport{d.Digest.String(), d.Size, first, time.Since(began).Seconds()}, nil
}
