package member

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const alice, bob = "12D3KooWAlice", "12D3KooWBob"

func newKey(t testing.TB) Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, k Key, c Credential) []byte {
	t.Helper()
	raw, err := k.Sign(c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// good is a credential of peer for the next hour.
func good(peer string) Credential {
	return Credential{Peer: peer, Node: "n1", Zone: "z", Issued: time.Now().Truncate(time.Second), Expires: time.Now().Add(time.Hour).Truncate(time.Second)}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "cluster.key")
	k, made, err := OpenKey(path)
	if err != nil || !made {
		t.Fatalf("first start: made %v, %v", made, err)
	}
	again, made, err := OpenKey(path)
	if err != nil || made || again.Public() != k.Public() {
		t.Errorf("second start: made %v, another key %v, %v", made, again.Public() != k.Public(), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenKey(path); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a key that all may read: %v", err)
	}
	broken := filepath.Join(t.TempDir(), "k")
	if err := os.WriteFile(broken, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenKey(broken); err == nil || !strings.Contains(err.Error(), broken) {
		t.Errorf("what is no key: %v", err)
	}
	if b, _ := os.ReadFile(broken); string(b) != "hello" {
		t.Error("what is no key was overwritten")
	}
}

func TestPublicForms(t *testing.T) {
	k := newKey(t)
	certificate, err := k.Certificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(append([]byte(nil), pub(k)...)))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"pin":         []byte(k.Public().String() + "\n"),
		"certificate": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		"public key":  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
	} {
		if got, err := ParsePublic(text); err != nil || got != k.Public() {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	secret, err := k.PEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", k.Public().String() + "A", string(secret)} {
		if got, err := ParsePublic([]byte(text)); err == nil {
			t.Errorf("%.10q… is %v", text, got)
		}
	}
}

func pub(k Key) []byte { p := k.Public(); return p[:] }

func TestTokens(t *testing.T) {
	k, now := newKey(t), time.Now()
	for _, expires := range []time.Time{{}, now.Add(time.Hour)} {
		minted, err := k.Mint(expires)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseToken(minted.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if got.Cluster != k.Public() || got.ID != minted.ID || !got.Expires.Equal(minted.Expires) {
			t.Errorf("%v became %v", minted, got)
		}
		if err := k.VerifyToken(got, now); err != nil {
			t.Error(err)
		}
		if strings.Contains(minted.String(), minted.Reveal()[60:]) {
			t.Error("a token shows itself when it is printed")
		}
		longer := got
		longer.Expires = now.Add(100 * time.Hour)
		if err := k.VerifyToken(longer, now); !errors.Is(err, ErrTokenForged) {
			t.Errorf("a token with another time: %v", err)
		}
		if err := newKey(t).VerifyToken(got, now); !errors.Is(err, ErrTokenForged) {
			t.Errorf("another cluster's token: %v", err)
		}
	}
	short, err := k.Mint(now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.VerifyToken(short, now.Add(2*time.Minute)); !errors.Is(err, ErrTokenExpired) {
		t.Errorf("a token after its time: %v", err)
	}
}

func TestCredentials(t *testing.T) {
	k := newKey(t)
	c := good(alice)
	raw := sign(t, k, c)
	got, err := k.Public().OpenCredential(raw)
	if err != nil || got.Peer != c.Peer || got.Node != c.Node || got.Zone != c.Zone || !got.Issued.Equal(c.Issued) || !got.Expires.Equal(c.Expires) {
		t.Errorf("%+v became %+v, %v", c, got, err)
	}
	for i := range raw {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		if _, err := k.Public().OpenCredential(changed); !errors.Is(err, ErrForged) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	for n := range raw {
		if _, err := k.Public().OpenCredential(raw[:n]); err == nil {
			t.Fatalf("first %d bytes are a credential", n)
		}
	}
	for what, one := range map[string]struct {
		peer string
		at   time.Time
		want error
		any  bool
	}{
		"its own":     {alice, time.Now(), nil, false},
		"another's":   {bob, time.Now(), ErrOtherPeer, false},
		"too late":    {alice, c.Expires, ErrExpired, false},
		"clock slow":  {alice, c.Issued.Add(-time.Minute), nil, false},
		"clock wrong": {alice, c.Issued.Add(-time.Hour), nil, true},
	} {
		err := got.Check(one.peer, one.at)
		if one.any && err == nil || !one.any && !errors.Is(err, one.want) {
			t.Errorf("%s: %v, want %v", what, err, one.want)
		}
	}
	if _, err := k.Sign(Credential{Peer: strings.Repeat("x", 256)}); err == nil {
		t.Error("a name of 256 bytes was signed")
	}
}

func TestAuthorityAsksThePlatform(t *testing.T) {
	k := newKey(t)
	denied := errors.New("no such account")
	a := NewAuthority(AuthorityConfig{Key: k, Review: func(_ context.Context, token string) (string, error) {
		if token != "jwt" {
			return "", denied
		}
		return "the-real-node", nil
	}})
	raw, err := a.Enrol(t.Context(), alice, "what it says", "z", "jwt")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := k.Public().OpenCredential(raw); err != nil || c.Node != "the-real-node" {
		t.Errorf("node %q, %v", c.Node, err)
	}
	if err := a.Admit(alice, raw); err != nil {
		t.Error(err)
	}
	if err := a.Admit(bob, raw); !errors.Is(err, ErrOtherPeer) {
		t.Errorf("with another's credential: %v", err)
	}
	if _, err := a.Enrol(t.Context(), alice, "", "", "other"); !errors.Is(err, denied) {
		t.Errorf("refused by the platform: %v", err)
	}
}

func TestPassKeepsItsCredential(t *testing.T) {
	k, file := newKey(t), filepath.Join(t.TempDir(), "deep", "credential")
	open := func(k Key, peer string) *Pass {
		p, err := OpenPass(k.Public(), peer, file)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := open(k, alice)
	if p.Card() != nil || p.RenewAt().After(time.Now()) {
		t.Error("a new pass has a credential")
	}
	if err := p.Accept(sign(t, k, good(bob))); !errors.Is(err, ErrOtherPeer) {
		t.Errorf("took another's credential: %v", err)
	}
	raw := sign(t, k, good(alice))
	if err := p.Accept(raw); err != nil {
		t.Fatal(err)
	}
	if open(k, alice).Card() != nil {
		t.Error("a credential was kept before it was asked for")
	}
	if err := p.Keep(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(open(k, alice).Card(), raw) {
		t.Error("the next start does not have it")
	}
	if open(newKey(t), alice).Card() != nil || open(k, bob).Card() != nil {
		t.Error("a file of another cluster or peer is used")
	}
}

func TestPassOnOthers(t *testing.T) {
	k := newKey(t)
	p, err := OpenPass(k.Public(), alice, filepath.Join(t.TempDir(), "c"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Admit(bob); !errors.Is(err, ErrNoCredential) {
		t.Errorf("a peer that was never checked: %v", err)
	}
	card := sign(t, k, good(bob))
	if err := p.Check(bob, nil); !errors.Is(err, ErrNoCredential) {
		t.Errorf("nothing shown: %v", err)
	}
	if err := p.Check("mallory", card); !errors.Is(err, ErrOtherPeer) {
		t.Errorf("somebody else's: %v", err)
	}
	if err := p.Check(bob, card); err != nil {
		t.Error(err)
	}
	if err := p.Admit(bob); err != nil {
		t.Error(err)
	}
	now := time.Now()
	if err := p.Ban(Ban{Peer: bob, At: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Check": p.Check(bob, card), "Admit": p.Admit(bob), "Banned": p.Banned(bob)} {
		if !errors.Is(err, ErrBanned) {
			t.Errorf("%s of a banned peer: %v", what, err)
		}
	}
	if err := p.Ban(Ban{Peer: bob, At: now.Add(1)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Admit(bob); err != nil {
		t.Errorf("after the ban: %v", err)
	}
	if err := p.Ban(Ban{Peer: bob, At: now, Until: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Admit(bob); err != nil {
		t.Errorf("a scheduler that has not heard of the end of the ban tells of it: %v", err)
	}
	if err := p.Ban(Ban{At: now}); err == nil {
		t.Error("a ban of nobody is taken")
	}
}

// Many peers that come and go leave bounded memory behind.
func TestPassForgets(t *testing.T) {
	k := newKey(t)
	p, err := OpenPass(k.Public(), alice, filepath.Join(t.TempDir(), "c"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxKnown {
		p.known[strings.Repeat("x", i%40)+string(rune(i))] = time.Now().Add(time.Hour)
	}
	if err := p.Check(bob, sign(t, k, good(bob))); err != nil {
		t.Fatal(err)
	}
	if len(p.known) > maxKnown || p.Admit(bob) != nil {
		t.Errorf("%d known, bob: %v", len(p.known), p.Admit(bob))
	}
}
