package preheat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/p2pd/p2pd/internal/secret"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// maxManifest bounds a manifest, in bytes, as everywhere.
	maxManifest = 4 << 20
	// maxManifests bounds what is read of one index: images have a dozen
	// platforms.
	maxManifests = 64
	// maxBlobs bounds the blobs of a job: what one message to a node may hold.
	maxBlobs = 4096
	// maxNesting is how deep an index may lie in others.
	maxNesting = 2
)

// reader looks up one image.
type reader struct {
	ctx        context.Context
	registries Registries
	spec       *Spec
	as         secret.Value
	read       int
}

// document is a manifest or an index: what is needed of either.
type document struct {
	Manifests []descriptor `json:"manifests"`
	Config    *descriptor  `json:"config"`
	Layers    []descriptor `json:"layers"`
}

// descriptor is one entry of a document.
type descriptor struct {
	MediaType string       `json:"mediaType"`
	Digest    string       `json:"digest"`
	Size      int64        `json:"size"`
	URLs      []string     `json:"urls"`
	Platform  *v1.Platform `json:"platform"`
}

// lookUp finds what an image is made of, for the platforms that are wanted: those
// that the job names, which the image must have, or else some of the nodes' own.
func lookUp(ctx context.Context, rs Registries, spec *Spec, as secret.Value, own []string) (piece.Digest, []Variant, error) {
	r := &reader{ctx: ctx, registries: rs, spec: spec, as: as}
	d, err := piece.ParseDigest(spec.Reference)
	if err != nil {
		if d, err = rs.Resolve(ctx, spec.Registry, spec.Repository, spec.Reference, as); err != nil {
			return d, nil, explained(err, as)
		}
	}
	doc, size, err := r.document(d)
	if err != nil {
		return d, nil, explained(err, as)
	}
	top := Blob{Digest: d.String(), Size: size, Manifest: true}
	if len(doc.Manifests) == 0 {
		v, err := r.variant(top, doc, "")
		return d, []Variant{v}, err
	}
	var all []Variant
	var has []string
	wanted := spec.Platforms
	if len(wanted) == 0 {
		wanted = own
	}
	if err := r.index(&all, &has, []Blob{top}, doc, wanted, 1); err != nil {
		return d, nil, explained(err, as)
	}
	for _, p := range spec.Platforms {
		if !slices.ContainsFunc(all, func(v Variant) bool { return satisfies(v.Platform, p) }) {
			return d, nil, fmt.Errorf("%s has nothing for %s; it has %s", spec.Image(), p, strings.Join(has, ", "))
		}
	}
	if len(all) == 0 {
		return d, nil, fmt.Errorf("%s has nothing for any of the nodes (%s); it has %s", spec.Image(), strings.Join(own, ", "), strings.Join(has, ", "))
	}
	return d, all, nil
}

// index reads the manifests of an index that are wanted: of each platform the
// first, as clients do. above are the indexes that lead there.
func (r *reader) index(all *[]Variant, has *[]string, above []Blob, doc document, wanted []string, depth int) error {
	for _, m := range doc.Manifests {
		if strings.HasSuffix(m.MediaType, "index.v1+json") || strings.HasSuffix(m.MediaType, "list.v2+json") {
			inner, b, err := r.child(m)
			if err == nil && depth >= maxNesting {
				err = errors.New("indexes lie too deep in each other")
			}
			if err == nil {
				err = r.index(all, has, append(slices.Clone(above), b), inner, wanted, depth+1)
			}
			if err != nil {
				return err
			}
			continue
		}
		if m.Platform == nil || m.Platform.OS == "" || m.Platform.OS == "unknown" {
			continue // an attestation
		}
		p := platformOf(m.Platform)
		*has = append(*has, p)
		if slices.ContainsFunc(*all, func(v Variant) bool { return v.Platform == p }) || !wants(wanted, p) {
			continue
		}
		inner, b, err := r.child(m)
		if err != nil {
			return err
		}
		v, err := r.variant(b, inner, p)
		if err != nil {
			return err
		}
		v.Blobs = append(slices.Clone(above), v.Blobs...)
		*all = append(*all, v)
	}
	return nil
}

// child reads what an index lists.
func (r *reader) child(m descriptor) (document, Blob, error) {
	d, err := piece.ParseDigest(m.Digest)
	if err != nil {
		return document{}, Blob{}, err
	}
	doc, size, err := r.document(d)
	return doc, Blob{Digest: m.Digest, Size: size, Manifest: true}, err
}

// document reads a manifest and makes sure that it is the one.
func (r *reader) document(d piece.Digest) (doc document, size int64, err error) {
	if r.read++; r.read > maxManifests {
		return doc, 0, fmt.Errorf("more than %d manifests; name the platforms", maxManifests)
	}
	b, err := r.registries.Manifest(r.ctx, r.spec.Registry, r.spec.Repository, d, r.as)
	switch {
	case err != nil:
		return doc, 0, err
	case len(b) > maxManifest:
		return doc, 0, fmt.Errorf("manifest %s has %d bytes; the most that is read is %d", d, len(b), maxManifest)
	case piece.Sum(b) != d:
		return doc, 0, &piece.MismatchError{Want: d, Got: piece.Sum(b)}
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return doc, 0, fmt.Errorf("manifest %s: %w", d, err)
	}
	if len(doc.Manifests) > 0 && (doc.Config != nil || len(doc.Layers) > 0) {
		return doc, 0, fmt.Errorf("manifest %s lists layers and manifests", d)
	}
	return doc, int64(len(b)), nil
}

// variant is what one manifest lists. What is to be had elsewhere is left to who
// pulls.
func (r *reader) variant(manifest Blob, doc document, platform string) (Variant, error) {
	v := Variant{Platform: platform, Blobs: []Blob{manifest}}
	if doc.Config == nil {
		return v, fmt.Errorf("manifest %s is neither an image's nor an index", manifest.Digest)
	}
	for _, l := range append([]descriptor{*doc.Config}, doc.Layers...) {
		if len(l.URLs) > 0 || strings.Contains(l.MediaType, "nondistributable") || strings.Contains(l.MediaType, "foreign") {
			continue
		}
		if _, err := piece.ParseDigest(l.Digest); err != nil {
			return v, fmt.Errorf("manifest %s: %w", manifest.Digest, err)
		}
		if _, err := piece.NewLayout(l.Size); err != nil {
			return v, fmt.Errorf("manifest %s: %s: %w", manifest.Digest, l.Digest, err)
		}
		v.Blobs = append(v.Blobs, Blob{Digest: l.Digest, Size: l.Size})
	}
	if len(v.Blobs) > maxBlobs {
		return v, fmt.Errorf("manifest %s lists %d blobs; the most of a job is %d", manifest.Digest, len(v.Blobs), maxBlobs)
	}
	return v, nil
}

// fits reports whether a node of a platform is to have it. A node that does not
// tell gets what most are.
func (v *Variant) fits(wanted []string, own string) bool {
	if v.Platform == "" {
		return true
	}
	if len(wanted) > 0 {
		return wants(wanted, v.Platform)
	}
	if own == "" {
		own = usualPlatform
	}
	return satisfies(v.Platform, own)
}

// usualPlatform is taken for that of peers that do not tell theirs.
const usualPlatform = "linux/amd64"

func platformOf(p *v1.Platform) string {
	return strings.TrimSuffix(strings.Join([]string{p.OS, p.Architecture, p.Variant}, "/"), "/")
}

// wants reports whether a platform is among those; without any all are wanted.
func wants(wanted []string, p string) bool {
	return len(wanted) == 0 || slices.ContainsFunc(wanted, func(w string) bool { return satisfies(p, w) })
}

// satisfies reports whether what is there for one platform will do for another:
// OS/ARCH means every variant.
func satisfies(has, want string) bool {
	return has == want || strings.HasPrefix(has, want+"/")
}

// wire is a blob as nodes are told it. It was checked when the image was looked
// up; what another scheduler tells may still be wrong.
func (b Blob) wire() (scheduler.PreheatBlob, error) {
	d, err := piece.ParseDigest(b.Digest)
	if err == nil {
		_, err = piece.NewLayout(b.Size)
	}
	return scheduler.PreheatBlob{Digest: d, Size: b.Size, Manifest: b.Manifest}, err
}

// unauthorized is what registries answer to an expired credential.
const unauthorized = 401

// explained says of a refusal what it likely means. Registries' own words stay.
func explained(err error, as secret.Value) error {
	refused, ok := errors.AsType[interface {
		error
		HTTPStatus() int
	}](err)
	if !ok || refused.HTTPStatus() != unauthorized {
		return err
	}
	if as.IsZero() {
		return fmt.Errorf("the registry wants a credential: give one with the job, or configure the registry's credentials: %w", err)
	}
	return fmt.Errorf("the registry does not take the job's credential: the token is expired, or is not good for this repository: %w", err)
}
