package member

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// tokenPrefix tells tokens from other texts, and versions of them apart.
const tokenPrefix = "p2pd1"

// What is wrong with a token. None tells what would have been right.
var (
	ErrTokenForged  = errors.New("the token is not one of this cluster's")
	ErrTokenExpired = errors.New("the token has expired")
	ErrTokenRefused = errors.New("the token has been withdrawn")
)

// TokenID names a token where the token itself must not be shown.
type TokenID [8]byte

// String is the ID in hexadecimal.
func (id TokenID) String() string { return hex.EncodeToString(id[:]) }

// ParseTokenID reads what String wrote.
func ParseTokenID(s string) (id TokenID, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is not a token's ID, which has 16 hexadecimal digits", s)
	}
	return TokenID(b), nil
}

// Token lets whoever holds it join a cluster. Schedulers keep no list: they
// check the code in it with the cluster's key. In text it is
//
//	p2pd1 "." pin "." base64url(body)
//
// with the body, big-endian:
//
//	offset  size  meaning
//	0       8     when it expires, Unix seconds; 0: never
//	8       8     its ID
//	16      16    HMAC-SHA-256, cut, of all before it
type Token struct {
	Cluster Public    // whose token it is; the joining node pins it
	Expires time.Time // zero: never
	ID      TokenID
	code    [16]byte
}

const tokenBody = 8 + 8 + 16

// Mint makes a token that is good until expires, or for good if that is zero.
func (k Key) Mint(expires time.Time) (Token, error) {
	t := Token{Cluster: k.Public()}
	if !expires.IsZero() {
		t.Expires = expires.Truncate(time.Second)
	}
	if _, err := rand.Read(t.ID[:]); err != nil {
		return Token{}, err
	}
	t.code = k.tokenCode(t)
	return t, nil
}

// VerifyToken says what is wrong with a token at that time.
func (k Key) VerifyToken(t Token, now time.Time) error {
	want := k.tokenCode(t)
	if t.Cluster != k.Public() || !hmac.Equal(want[:], t.code[:]) {
		return ErrTokenForged
	}
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return ErrTokenExpired
	}
	return nil
}

func (k Key) tokenCode(t Token) (code [16]byte) {
	mac := hmac.New(sha256.New, k.derive("join token v1", 32))
	mac.Write(t.body()[:16])
	return [16]byte(mac.Sum(nil)[:16])
}

func (t Token) body() []byte {
	b := make([]byte, tokenBody)
	if !t.Expires.IsZero() {
		binary.BigEndian.PutUint64(b, uint64(t.Expires.Unix())) //nolint:gosec // not before 1970: Mint and ParseToken see to it
	}
	copy(b[8:], t.ID[:])
	copy(b[16:], t.code[:])
	return b
}

// Reveal is the token's text, to be given to those who may join.
func (t Token) Reveal() string {
	return tokenPrefix + "." + t.Cluster.String() + "." + base64.RawURLEncoding.EncodeToString(t.body())
}

// String names the token without showing it.
func (t Token) String() string { return "token " + t.ID.String() }

// IsToken reports whether text wants to be a Token and not something else, such
// as what a platform gives out.
func IsToken(text string) bool { return strings.HasPrefix(text, tokenPrefix+".") }

// ParseToken reads what Reveal wrote. Errors do not repeat it.
func ParseToken(text string) (Token, error) {
	pin, body, ok := strings.Cut(strings.TrimPrefix(text, tokenPrefix+"."), ".")
	if !IsToken(text) || !ok {
		return Token{}, errors.New(`not a join token, which begins with "p2pd1." and has two more parts`)
	}
	cluster, err := parsePin(pin)
	if err != nil {
		return Token{}, errors.New("join token is damaged: its second part is not a cluster's public key")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(b) != tokenBody || len(body) != base64.RawURLEncoding.EncodedLen(tokenBody) { // no line breaks
		return Token{}, errors.New("join token is damaged: its third part is not whole")
	}
	t := Token{Cluster: cluster, ID: TokenID(b[8:16]), code: [16]byte(b[16:])}
	if t.Expires, err = unixTime(binary.BigEndian.Uint64(b)); err != nil {
		return Token{}, fmt.Errorf("join token is damaged: %w", err)
	}
	return t, nil
}

// unixTime is the time of that many seconds; 0 is no time.
func unixTime(seconds uint64) (time.Time, error) {
	const year10000 = 253402300800 // keeps times within what can be printed
	if seconds >= year10000 {
		return time.Time{}, fmt.Errorf("second %d lies beyond the year 9999", seconds)
	}
	if seconds == 0 {
		return time.Time{}, nil
	}
	return time.Unix(int64(seconds), 0), nil
}
