package member

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Public is the public half of a cluster's key. It names the cluster, and
// nodes pin it. The zero value is no cluster's.
type Public [ed25519.PublicKeySize]byte

// String is the form that ParsePublic reads: 43 characters of unpadded
// base64url.
func (p Public) String() string { return base64.RawURLEncoding.EncodeToString(p[:]) }

// IsZero reports whether p names no cluster.
func (p Public) IsZero() bool { return p == Public{} }

// Equal reports whether k is this key.
func (p Public) Equal(k crypto.PublicKey) bool { return ed25519.PublicKey(p[:]).Equal(k) }

// ParsePublic reads a pin: what String wrote, or PEM that holds a public key or
// a certificate of one.
func ParsePublic(text []byte) (Public, error) {
	if block, _ := pem.Decode(text); block != nil {
		return publicOf(block)
	}
	return parsePin(string(trim(text)))
}

func parsePin(s string) (Public, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	// The decoder skips line breaks; one key has one text.
	if err != nil || len(b) != len(Public{}) || len(s) != base64.RawURLEncoding.EncodedLen(len(b)) {
		return Public{}, fmt.Errorf("%.20q is not a cluster's public key, which has 43 letters, digits, - and _", s)
	}
	return Public(b), nil
}

func publicOf(block *pem.Block) (Public, error) {
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		err = fmt.Errorf("it is a %q", block.Type)
	}
	if err != nil {
		return Public{}, fmt.Errorf("no public key or certificate in this PEM: %w", err)
	}
	k, ok := key.(ed25519.PublicKey)
	if !ok {
		return Public{}, fmt.Errorf("a cluster's key is an Ed25519 one, not %T", key)
	}
	return Public(k), nil
}

// Key is a cluster's private key. Whoever holds it decides who is a member.
type Key struct{ private ed25519.PrivateKey }

// NewKey draws a key.
func NewKey() (Key, error) {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	return Key{k}, err
}

// ParseKey reads a private key from PEM (PKCS #8, as openssl genpkey
// -algorithm ed25519 writes it).
func ParseKey(text []byte) (Key, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return Key{}, errors.New("no PEM block of type PRIVATE KEY; openssl genpkey -algorithm ed25519 makes one")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return Key{}, err
	}
	k, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return Key{}, fmt.Errorf("a cluster's key is an Ed25519 one, not %T", parsed)
	}
	return Key{k}, nil
}

// PEM is what ParseKey reads.
func (k Key) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Public is the cluster's name.
func (k Key) Public() Public { return Public(k.private.Public().(ed25519.PublicKey)) }

// derive makes a key for one purpose out of this one (HKDF-SHA-256, RFC 5869).
func (k Key) derive(purpose string, n int) []byte {
	b, err := hkdf.Key(sha256.New, k.private.Seed(), nil, "p2pd "+purpose, n)
	if err != nil {
		panic(err) // only for lengths beyond 255 hashes
	}
	return b
}

// GossipKey encrypts what schedulers of one cluster tell each other: AES-256.
func (k Key) GossipKey() []byte { return k.derive("gossip v1", 32) }

// Certificate is what schedulers show to nodes, which look at nothing but its
// public key. Two schedulers of one cluster show two certificates of one key.
func (k Key) Certificate(now time.Time) (tls.Certificate, error) {
	const century = 100 * 365 * 24 * time.Hour
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "p2pd scheduler"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(century),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &x509.Certificate{}, k.private.Public(), k.private)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make the scheduler's certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k.private}, nil
}
