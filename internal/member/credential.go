package member

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// What is wrong with a credential.
var (
	ErrNoCredential = errors.New("peer shows no credential")
	ErrForged       = errors.New("credential is not signed by this cluster")
	ErrOtherPeer    = errors.New("credential is another peer's")
	ErrExpired      = errors.New("credential has expired")
	ErrBanned       = errors.New("peer is banned")
)

const (
	credentialVersion = 1
	// maxName bounds each text in a credential: peer IDs have 52 letters, DNS
	// names at most 253.
	maxName = 255
	// MaxCredential is the longest credential in bytes.
	MaxCredential = 1 + 8 + 8 + 3*(1+maxName) + ed25519.SignatureSize
	// signingContext keeps signatures apart from others by the same key.
	signingContext = "p2pd credential v1\x00"
	// clockSkew is how far ahead of ours the clock may be by which a
	// credential was signed.
	clockSkew = 10 * time.Minute
)

// Credential says that a peer belongs to a cluster. Signed it is, big-endian:
//
//	offset  size  meaning
//	0       1     version, 1
//	1       8     when it was signed, Unix seconds
//	9       8     when it expires, Unix seconds
//	17      1+n   peer ID: its length, then its text
//	..      1+n   node, likewise
//	..      1+n   zone, likewise
//	..      64    Ed25519 by the cluster's key over "p2pd credential v1\x00"
//	              and all before it
type Credential struct {
	Peer            string // libp2p peer ID in text form
	Node            string // name of the machine, for people
	Zone            string // may be empty
	Issued, Expires time.Time
}

// Sign makes the bytes of a credential.
func (k Key) Sign(c Credential) ([]byte, error) {
	b := []byte{credentialVersion}
	b = binary.BigEndian.AppendUint64(b, uint64(max(c.Issued.Unix(), 0)))  //nolint:gosec // not negative
	b = binary.BigEndian.AppendUint64(b, uint64(max(c.Expires.Unix(), 0))) //nolint:gosec // not negative
	for _, s := range []string{c.Peer, c.Node, c.Zone} {
		if len(s) > maxName {
			return nil, fmt.Errorf("%.20q… is longer than %d bytes", s, maxName)
		}
		b = append(append(b, byte(len(s))), s...)
	}
	if c.Peer == "" {
		return nil, errors.New("a credential must name its peer")
	}
	return signed(k, signingContext, b), nil
}

// signed is body with its signature, which is good for nothing but what context names.
func signed(k Key, context string, body []byte) []byte {
	return slices.Concat(body, ed25519.Sign(k.private, append([]byte(context), body...)))
}

// unsigned is the body of what signed made, of at most that many bytes; false if it did not. Whoever
// parses the body parses nothing of a stranger's.
func (p Public) unsigned(context string, raw []byte, most int) (body []byte, ok bool) {
	n := len(raw) - ed25519.SignatureSize
	if n < 0 || len(raw) > most {
		return nil, false
	}
	return raw[:n], ed25519.Verify(ed25519.PublicKey(p[:]), append([]byte(context), raw[:n]...), raw[n:])
}

// OpenCredential reads a credential that this cluster has signed. Whose it is and whether it
// is still good is for Credential.Check.
func (p Public) OpenCredential(raw []byte) (Credential, error) {
	if len(raw) == 0 {
		return Credential{}, ErrNoCredential
	}
	body, ok := p.unsigned(signingContext, raw, MaxCredential)
	if !ok {
		return Credential{}, fmt.Errorf("%w: %d bytes", ErrForged, len(raw))
	}
	return parseCredential(body)
}

func parseCredential(b []byte) (c Credential, err error) {
	if len(b) < 17 || b[0] != credentialVersion {
		return c, errors.New("credential of a version that this build does not know")
	}
	if c.Issued, err = unixTime(binary.BigEndian.Uint64(b[1:])); err != nil {
		return c, fmt.Errorf("credential: %w", err)
	}
	if c.Expires, err = unixTime(binary.BigEndian.Uint64(b[9:])); err != nil {
		return c, fmt.Errorf("credential: %w", err)
	}
	b = b[17:]
	for _, s := range []*string{&c.Peer, &c.Node, &c.Zone} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return Credential{}, errors.New("credential is cut short")
		}
		end := 1 + int(b[0]) // a byte would overflow at the longest name
		*s, b = string(b[1:end]), b[end:]
	}
	if len(b) > 0 {
		return Credential{}, errors.New("credential has more than belongs into it")
	}
	return c, nil
}

// Check says why a credential does not let that peer in at that time.
func (c Credential) Check(peer string, now time.Time) error {
	switch {
	case c.Peer != peer:
		return ErrOtherPeer
	case !now.Before(c.Expires):
		return fmt.Errorf("%w at %s", ErrExpired, c.Expires.UTC().Format(time.RFC3339))
	case c.Issued.After(now.Add(clockSkew)):
		return fmt.Errorf("credential is from the future (%s): one of the clocks is wrong", c.Issued.UTC().Format(time.RFC3339))
	}
	return nil
}

// RenewAt is when its owner should ask for the next one: at half of its life.
func (c Credential) RenewAt() time.Time { return c.Issued.Add(c.Expires.Sub(c.Issued) / 2) }
