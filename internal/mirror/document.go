package mirror

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/p2pd/p2pd/pkg/piece"
)

// The media types that are manifests here. The first two list layers, the
// last two list manifests.
const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

const (
	// maxDocument bounds a manifest, in bytes. It is the distribution
	// specification's; containerd refuses only slightly larger ones.
	maxDocument = 4 << 20
	// maxDescriptors bounds what one manifest may list: a hundred times
	// what images have, and 1 MiB once parsed.
	maxDescriptors = 10_000
)

// isManifestType reports whether containerd can go on with the media type.
func isManifestType(mediaType string) bool {
	switch mediaType {
	case ociManifest, dockerManifest, ociIndex, dockerList:
		return true
	}
	return false
}

// document is what the mirror needs to know of a manifest or an index: its
// media type, and the sizes that it promises. What it lists is not followed.
type document struct {
	mediaType string
	promises  []promise
	index     bool // it lists manifests, not layers
	// parts are what it lists as the repository's own. A descriptor with URLs
	// is not among them: registries take such without looking whether they
	// have the content.
	parts []promise
	// layers are the children that are layers, in the manifest's order.
	layers []promise
}

// promise is the size that a manifest gives for a digest.
type promise struct {
	digest piece.Digest
	size   int64 // 0..piece.MaxBlobSize
}

// parseDocument reads a manifest or an index. Anything that clients could
// understand in two ways is refused: content that is served under one media
// type must not pass for the other.
func parseDocument(p []byte) (document, error) {
	var raw struct {
		SchemaVersion int            `json:"schemaVersion"`
		MediaType     string         `json:"mediaType"`
		Config        descriptor     `json:"config"`
		Layers        descriptorList `json:"layers"`
		Manifests     descriptorList `json:"manifests"`
	}
	if err := json.Unmarshal(p, &raw); err != nil {
		return document{}, fmt.Errorf("not a manifest: %w", err)
	}
	if raw.SchemaVersion != 2 {
		return document{}, fmt.Errorf("not a manifest of schema version 2, but %d", raw.SchemaVersion)
	}
	isImage, isIndex := raw.Config.present || raw.Layers.present, raw.Manifests.present
	if isImage && isIndex {
		return document{}, errors.New("manifest lists layers and manifests")
	}
	d := document{mediaType: raw.MediaType}
	switch {
	case d.mediaType != "":
	case isImage:
		d.mediaType = ociManifest
	case isIndex:
		d.mediaType = ociIndex
	default:
		return document{}, errors.New("neither an image manifest nor an index")
	}
	switch d.mediaType {
	case ociManifest, dockerManifest:
		if isIndex {
			return document{}, fmt.Errorf("%s that lists manifests", d.mediaType)
		}
	case ociIndex, dockerList:
		if isImage {
			return document{}, fmt.Errorf("%s that lists layers", d.mediaType)
		}
	default:
		return document{}, fmt.Errorf("manifests of media type %.80q are not served here", d.mediaType)
	}
	d.promises = append(d.promises, raw.Layers.known...)
	d.promises = append(d.promises, raw.Manifests.known...)
	d.layers = raw.Layers.own
	d.index = isIndex
	d.parts = slices.Concat(raw.Layers.own, raw.Manifests.own)
	if raw.Config.known {
		d.promises = append(d.promises, raw.Config.promise)
		if !raw.Config.foreign {
			d.parts = append(d.parts, raw.Config.promise)
		}
	}
	return d, nil
}

// children are the digests of its parts.
func (d document) children() []piece.Digest {
	var all []piece.Digest
	for _, p := range d.parts {
		all = append(all, p.digest)
	}
	return all
}

// descriptor is one entry of a manifest. It is present if the field was
// there and not null, known if its digest is one that p2pd speaks.
type descriptor struct {
	promise
	present, known bool
	foreign        bool // with URLs to fetch it from
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *descriptor) UnmarshalJSON(p []byte) error {
	if string(p) == "null" {
		return nil
	}
	var raw struct {
		Digest string            `json:"digest"`
		Size   *int64            `json:"size"`
		URLs   []json.RawMessage `json:"urls"`
	}
	if err := json.Unmarshal(p, &raw); err != nil {
		return err
	}
	if d.present {
		return errors.New("descriptor given twice")
	}
	d.present = true
	if raw.Size == nil || *raw.Size < 0 || *raw.Size > piece.MaxBlobSize {
		return fmt.Errorf("descriptor of %.80q has no size in 0..%d", raw.Digest, int64(piece.MaxBlobSize))
	}
	digest, err := piece.ParseDigest(raw.Digest)
	switch {
	case errors.Is(err, piece.ErrUnsupportedDigest):
		return nil
	case err != nil:
		return err
	}
	d.promise, d.known, d.foreign = promise{digest, *raw.Size}, true, len(raw.URLs) > 0
	return nil
}

// descriptorList is a bounded list of descriptors.
type descriptorList struct {
	known   []promise
	own     []promise
	present bool
}

// UnmarshalJSON implements json.Unmarshaler. It reads one entry at a time,
// so that a hostile list costs no more memory than an honest one.
func (l *descriptorList) UnmarshalJSON(p []byte) error {
	if string(p) == "null" {
		return nil
	}
	if l.present {
		return errors.New("list of descriptors given twice")
	}
	l.present = true
	dec := json.NewDecoder(bytes.NewReader(p))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return errors.New("descriptors are not in a list")
	}
	for n := 0; dec.More(); n++ {
		if n == maxDescriptors {
			return fmt.Errorf("more than %d descriptors", maxDescriptors)
		}
		var d descriptor
		if err := dec.Decode(&d); err != nil {
			return err
		}
		if d.known {
			l.known = append(l.known, d.promise)
			if !d.foreign {
				l.own = append(l.own, d.promise)
			}
		}
	}
	return nil
}

// Children are what a manifest or an index lists that is content of its
// repository, if b is one.
func Children(b []byte) ([]piece.Digest, error) {
	d, err := parseDocument(b)
	return d.children(), err
}
