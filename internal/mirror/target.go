package mirror

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	"github.com/p2pd/p2pd/pkg/piece"
)

// Kind is what a request asks for.
type Kind uint8

// The kinds.
const (
	Other    Kind = iota // nothing that the mirror serves
	Base                 // /v2/: is this a registry?
	Tag                  // a manifest by tag
	Manifest             // a manifest by digest
	Blob
	kinds
)

// String names the kind as metrics and logs do.
func (k Kind) String() string {
	return [kinds]string{"other", "base", "tag", "manifest", "blob"}[k]
}

// maxName is the distribution specification's bound on repository names.
const maxName = 255

// The grammars of the distribution specification.
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

// target is what a path names. Tag is set for Tag, digest for Manifest and
// Blob; both kinds and Tag have a name.
//
// Whether the first component of the name is a registry's host, the path alone
// does not tell. If it may be, prefix is that host and inner the rest; name is
// what it would be otherwise, and then perhaps no valid one.
type target struct {
	kind   Kind
	name   string
	prefix string
	inner  string
	tag    string
	digest piece.Digest
}

// parsePath reads a decoded URL path. The kind is set as far as it could be
// told even when it fails.
func parsePath(path string) (target, *failure) {
	if path == "/v2" || path == "/v2/" {
		return target{kind: Base}, nil
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return target{}, fail(http.StatusNotFound, codeUnsupported, "only /v2/ is served here")
	}
	// Both the name and its components may read "manifests" or "blobs", so
	// the path is taken apart from its end.
	rest, reference, _ := cutLast(rest)
	name, collection, _ := cutLast(rest)
	t := target{name: name}
	switch collection {
	case "manifests":
		t.kind = Tag
		if strings.Contains(reference, ":") {
			t.kind = Manifest
		}
	case "blobs":
		t.kind = Blob
	default:
		return t, fail(http.StatusNotFound, codeUnsupported, "this mirror serves manifests and blobs only")
	}
	host, inner, prefixed := splitPrefix(name)
	if prefixed {
		t.prefix, t.inner = host, inner
	} else if !isName(name) {
		return t, invalidName(name)
	}
	if t.kind == Tag {
		// The specification names no code for a malformed tag; registries
		// answer that there is no such manifest.
		if !tagGrammar.MatchString(reference) {
			return t, fail(http.StatusNotFound, codeManifestUnknown, "invalid tag %.80q", reference)
		}
		t.tag = reference
		return t, nil
	}
	d, err := piece.ParseDigest(reference)
	switch {
	case errors.Is(err, piece.ErrUnsupportedDigest):
		return t, fail(http.StatusNotFound, codeUnsupported, "%v: ask the origin", err)
	case err != nil:
		return t, fail(http.StatusBadRequest, codeDigestInvalid, "%v", err)
	}
	t.digest = d
	return t, nil
}

// cutLast slices s around its last slash.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}
