package member

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"
)

func FuzzParseToken(f *testing.F) {
	k := newKey(f)
	t, err := k.Mint(time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(t.Reveal())
	f.Add("p2pd1..")
	f.Add("p2pd1." + k.Public().String() + ".")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		if token.Reveal() != text {
			t.Errorf("%q is read as %q", text, token.Reveal())
		}
		if k.VerifyToken(token, time.Unix(1, 0)) == nil && token.Cluster != k.Public() {
			t.Error("another cluster's token is good")
		}
	})
}

// What is parsed has been signed, so that the parser itself is fuzzed only
// where the signature is left out.
func FuzzParseCredential(f *testing.F) {
	k := newKey(f)
	c := good(alice)
	raw, err := k.Sign(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw[:len(raw)-ed25519.SignatureSize])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCredential(b)
		if err != nil || c.Peer == "" {
			return
		}
		again, err := k.Sign(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := again[:len(again)-ed25519.SignatureSize]; !bytes.Equal(got, b) {
			t.Errorf("%x is read as %x", b, got)
		}
		_ = c.Check(alice, time.Now())
	})
}

func FuzzParsePublic(f *testing.F) {
	k := newKey(f)
	f.Add([]byte(k.Public().String()))
	if text, err := k.PEM(); err == nil {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := ParsePublic(text); err == nil {
			if again, err := ParsePublic([]byte(p.String())); err != nil || again != p {
				t.Errorf("%v, %v", again, err)
			}
		}
		_, _ = ParseKey(text)
	})
}
