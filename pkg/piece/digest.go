package piece

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// DigestSize is the length of a digest in bytes, in memory and on the wire.
const DigestSize = sha256.Size

// ErrUnsupportedDigest means a well-formed digest of an algorithm that p2pd
// does not speak. Callers at the edge hand such blobs back to the origin.
var ErrUnsupportedDigest = errors.New("unsupported digest algorithm")

// Digest is a SHA-256. It names a blob, or claims what one piece holds.
// The zero value stands for "not known"; no content has it.
type Digest [DigestSize]byte

// ParseDigest reads the OCI form "sha256:" and 64 lower-case hex digits.
// A digest of another registered algorithm gives ErrUnsupportedDigest.
func ParseDigest(s string) (Digest, error) {
	alg, enc, ok := strings.Cut(s, ":")
	if !ok || alg == "" || enc == "" {
		return Digest{}, fmt.Errorf("digest %.80q is not algorithm:hex", s)
	}
	if alg != "sha256" {
		if alg == "sha512" {
			return Digest{}, fmt.Errorf("digest %.20q…: %w", s, ErrUnsupportedDigest)
		}
		return Digest{}, fmt.Errorf("digest %.80q: unknown algorithm", s)
	}
	var d Digest
	if len(enc) != hex.EncodedLen(DigestSize) || strings.ToLower(enc) != enc {
		return Digest{}, fmt.Errorf("digest %.80q: want 64 lower-case hex digits", s)
	}
	if _, err := hex.Decode(d[:], []byte(enc)); err != nil {
		return Digest{}, fmt.Errorf("digest %.80q: %w", s, err)
	}
	if d.IsZero() { // to whoever verifies it would mean that anything will do
		return Digest{}, fmt.Errorf("digest %.80q: no content has it", s)
	}
	return d, nil
}

// Sum is the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// String is the OCI form, "sha256:…".
func (d Digest) String() string { return "sha256:" + d.Hex() }

// Hex is the 64 digits alone: the name of a blob's file.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// Short is the first 12 digits, for logs.
func (d Digest) Short() string { return hex.EncodeToString(d[:6]) }

// IsZero reports whether d stands for "not known".
func (d Digest) IsZero() bool { return d == Digest{} }
