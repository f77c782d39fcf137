// Package secret has the type for what must never be shown: credentials and
// keys. Whatever a Value is formatted, logged or encoded with, what comes out
// is "[redacted]"; only Reveal tells.
package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Value is a secret, or none if zero. Values are compared with Equal.
type Value struct {
	_ [0]func() // not comparable: == would leak by its time
	// fmt asks no Formatter in unexported fields; behind a pointer it prints
	// an address.
	v *string
}

// New wraps v.
func New(v string) Value {
	if v == "" {
		return Value{}
	}
	return Value{v: &v}
}

// Reveal returns the secret, for the one place that sends it.
func (s Value) Reveal() string {
	if s.v == nil {
		return ""
	}
	return *s.v
}

// IsZero reports whether there is no secret.
func (s Value) IsZero() bool { return s.v == nil }

// Equal compares in a time that depends on the lengths only.
func (s Value) Equal(o Value) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(o.Reveal())) == 1
}

// Tag is HMAC-SHA-256 of the secret and of what it is used for, under key: a
// name to remember the secret by. It tells nothing without the key.
func (s Value) Tag(key []byte, use string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, key)
	// Lengths first, so that no two pairs run into the same bytes. A hash's
	// Write does not fail.
	fmt.Fprintf(mac, "%d:%s%d:%s", len(use), use, len(s.Reveal()), s.Reveal())
	return [sha256.Size]byte(mac.Sum(nil))
}

// Format implements fmt.Formatter, for every verb.
func (s Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.shown())) }

// LogValue implements slog.LogValuer.
func (s Value) LogValue() slog.Value { return slog.StringValue(s.shown()) }

// MarshalText implements encoding.TextMarshaler, for JSON and YAML too.
func (s Value) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }

func (s Value) shown() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}
