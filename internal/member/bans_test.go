package member

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A banned peer gets no credential, new or renewed, and is not let in with the one
// that it has, while the ban lasts.
func TestABannedPeerGetsNoCredential(t *testing.T) {
	k := newKey(t)
	bans := new(Bans)
	a := NewAuthority(AuthorityConfig{Key: k, Bans: bans})
	token, err := k.Mint(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.Enrol(t.Context(), alice, "node", "", token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for name, ban := range map[string]func() Ban{
		"by an operator": func() Ban { return bans.Order(alice, time.Hour, "it is stolen", time.Now()) },
		"by members":     func() Ban { return bans.Blame(alice, time.Hour, "false bytes", time.Now()) },
	} {
		word := ban()
		if _, err := a.Enrol(t.Context(), alice, "node", "", token.Reveal()); !errors.Is(err, ErrBanned) || !strings.Contains(err.Error(), word.Reason) {
			t.Errorf("banned %s, it asks for a credential: %v", name, err)
		}
		if err := a.Admit(alice, raw); !errors.Is(err, ErrBanned) {
			t.Errorf("banned %s, it shows the one that it has: %v", name, err)
		}
		if err := a.Admit(bob, sign(t, k, good(bob))); err != nil {
			t.Errorf("another peer: %v", err)
		}
		bans.Lift(alice, time.Now())
		if err := a.Admit(alice, raw); err != nil {
			t.Errorf("once the ban %s is lifted: %v", name, err)
		}
	}
}

// Whoever hears the same words, in whatever order and however often, believes the
// same; and nobody bans whom the last word lets in.
func TestBansAgree(t *testing.T) {
	start := time.Now()
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var nodes [3]Bans
		var words []Ban
		now := start
		for range 12 {
			// Clocks differ, and time may stand still.
			now = now.Add(time.Duration(rng.IntN(3)) * time.Second)
			b, at, p := &nodes[rng.IntN(3)], now.Add(time.Duration(rng.IntN(3)-1)*time.Second), []string{alice, bob}[rng.IntN(2)]
			switch rng.IntN(4) {
			case 0:
				words = append(words, b.Order(p, time.Duration(1+rng.IntN(100))*time.Second, "x", at))
			case 1:
				words = append(words, b.Blame(p, 5*time.Minute, "y", at))
			case 2:
				words = append(words, b.Lift(p, at)...)
			case 3: // somebody hears something
				if len(words) > 0 {
					if _, err := b.Merge(words[rng.IntN(len(words))], now); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for i := range nodes {
			for _, w := range rng.Perm(len(words)) {
				if _, err := nodes[i].Merge(words[w], now); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range nodes[1:] {
			if diff := cmp.Diff(nodes[0].All(now), nodes[i+1].All(now)); diff != "" {
				t.Fatalf("seed %d: they do not agree:\n%s", seed, diff)
			}
		}
		for _, p := range []string{alice, bob} {
			nodes[1].Lift(p, now.Add(-time.Hour)) // its clock is far behind
			for _, w := range words {
				if _, err := nodes[1].Merge(w, now); err != nil {
					t.Fatal(err)
				}
			}
			if err := nodes[1].Check(p, now); err != nil {
				t.Fatalf("seed %d: an older ban is back: %v", seed, err)
			}
		}
	}
}

// A shorter ban that replaces a longer one is over when it says so, though another
// scheduler still tells of the longer one.
func TestAReplacedBanDoesNotReturn(t *testing.T) {
	var b Bans
	now := time.Now()
	long := b.Order(alice, time.Hour, "long", now)
	b.Order(alice, time.Minute, "short", now)
	now = now.Add(2 * time.Minute)
	if _, err := b.Merge(long, now); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(alice, now); err != nil {
		t.Error(err)
	}
}

// An operator's ban and one by members do not replace each other.
func TestBlameDoesNotShortenABan(t *testing.T) {
	var b Bans
	now := time.Now()
	b.Order(alice, time.Hour, "stolen", now)
	b.Blame(alice, time.Minute, "false bytes", now.Add(time.Second))
	if got, is := b.Find(alice, now.Add(2*time.Minute)); !is || got.Reason != "stolen" {
		t.Errorf("%+v, %v", got, is)
	}
}

func TestBansOutliveTheProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bans")
	open := func() *Bans {
		b, err := OpenBans(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	now := time.Now()
	b := open()
	b.Order(alice, time.Hour, "stolen", now)
	b.Order(bob, time.Hour, "a mistake", now)
	b.Lift(bob, now)
	b.Blame("carol", time.Minute, "false bytes", now.Add(-2*time.Minute)) // is over
	if err := b.Keep(now); err != nil {
		t.Fatal(err)
	}
	again := open()
	if diff := cmp.Diff(b.All(now), again.All(now)); diff != "" {
		t.Error(diff)
	}
	if again.Check(alice, now) == nil || again.Check(bob, now) != nil || len(again.All(now)) != 3 {
		t.Errorf("%+v", again.All(now))
	}
	if err := os.WriteFile(file, []byte("no JSON"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenBans(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a damaged file: %v", err)
	}
	if err := (&Bans{file: filepath.Join(file, "x")}).Keep(now); err == nil {
		t.Error("nothing was written, and nobody was told")
	}
}

// What others say is bounded, each word and all of them; when there is too much, the
// longest bans stay.
func TestBansAreBounded(t *testing.T) {
	var b Bans
	now := time.Now()
	for name, w := range map[string]Ban{
		"nobody":       {At: now},
		"a long name":  {Peer: strings.Repeat("x", 200), At: now},
		"a long story": {Peer: alice, At: now, Reason: strings.Repeat("x", 2000)},
		"for ever":     {Peer: alice, At: now, Until: now.Add(2 * BanMost)},
	} {
		if changed, err := b.Merge(w, now); err == nil || changed {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.Order(alice, BanMost, "stolen", now)
	for i := range maxBans + 10 {
		b.Blame(fmt.Sprint(i), time.Minute, "false bytes", now)
	}
	if n := len(b.All(now)); n != maxBans || b.Check(alice, now) == nil {
		t.Errorf("%d words, alice: %v", n, b.Check(alice, now))
	}
	if n := len(b.All(now.Add(time.Hour))); n != 1 {
		t.Errorf("%d words are left when blames are over", n)
	}
}
