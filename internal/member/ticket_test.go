package member

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"
)

var (
	blobA = sha256.Sum256([]byte("a"))
	blobB = sha256.Sum256([]byte("b"))
)

func ticket(t testing.TB, k Key, peer string, digest [32]byte, expires time.Time) []byte {
	t.Helper()
	raw, err := k.SignTicket(Ticket{Peer: peer, Digest: digest, Expires: expires})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// A ticket lets one peer have one blob until it expires; any other is worth nothing, to
// whom it is shown as to whom it is given.
func TestWhatATicketIsGoodFor(t *testing.T) {
	k, later := newKey(t), time.Now().Add(time.Hour)
	genuine := ticket(t, k, bob, blobA, later)
	flipped := append([]byte(nil), genuine...)
	flipped[20] ^= 1
	for name, raw := range map[string][]byte{
		"none":             nil,
		"another peer's":   ticket(t, k, "mallory", blobA, later),
		"another blob's":   ticket(t, k, bob, blobB, later),
		"another cluster":  ticket(t, newKey(t), bob, blobA, later),
		"expired":          ticket(t, k, bob, blobA, time.Now().Add(-time.Second)),
		"changed":          flipped,
		"too short":        genuine[:30],
		"too long":         append(append([]byte(nil), genuine...), make([]byte, MaxTicket)...),
		"a credential":     sign(t, k, good(bob)),
		"without its name": k.resign(genuine[:ticketHead+1]),
		"of version 2":     k.resign(append([]byte{2}, genuine[1:len(genuine)-64]...)),
	} {
		tickets := NewTickets(k.Public(), alice)
		if err := tickets.Show(bob, blobA, raw); err == nil || tickets.May(bob, blobA) {
			t.Errorf("%s: %v, and it may: %v", name, err, tickets.May(bob, blobA))
		}
		mine := NewTickets(k.Public(), bob)
		if err := mine.Accept(blobA, raw); err == nil || mine.Own(blobA) != nil {
			t.Errorf("%s, of its own: %v", name, err)
		}
	}
	tickets := NewTickets(k.Public(), alice)
	if err := tickets.Show(bob, blobA, genuine); err != nil || !tickets.May(bob, blobA) {
		t.Errorf("a genuine one: %v", err)
	}
	if tickets.May(bob, blobB) || tickets.May(alice, blobA) {
		t.Error("it is good for more than it says")
	}
	if err := tickets.Show(bob, blobA, nil); err != nil || !tickets.May(bob, blobA) {
		t.Errorf("one that was shown is forgotten: %v", err)
	}
	mine := NewTickets(k.Public(), bob)
	if err := mine.Accept(blobA, genuine); err != nil || string(mine.Own(blobA)) != string(genuine) || mine.Own(blobB) != nil {
		t.Errorf("its own: %v", err)
	}
}

// resign signs a body as if it were a ticket's.
func (k Key) resign(body []byte) []byte { return signed(k, ticketContext, body) }

// What has expired is not shown, and gives nothing.
func TestATicketExpires(t *testing.T) {
	k := newKey(t)
	soon := time.Now().Add(2 * time.Second).Truncate(time.Second)
	tickets := NewTickets(k.Public(), bob)
	raw := ticket(t, k, bob, blobA, soon)
	if err := errors.Join(tickets.Accept(blobA, raw), tickets.Show(bob, blobA, raw)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); tickets.Own(blobA) != nil || tickets.May(bob, blobA); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is good for ever")
		}
	}
	if time.Now().Before(soon) {
		t.Error("it is over before its time")
	}
}

// A scheduler gives tickets to whom it has not banned.
func TestTheAuthoritysTickets(t *testing.T) {
	k := newKey(t)
	bans := new(Bans)
	a := NewAuthority(AuthorityConfig{Key: k, Bans: bans})
	raw, err := a.Ticket(bob, blobA)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Public().OpenTicket(raw)
	if left := time.Until(got.Expires); err != nil || got.Peer != bob || got.Digest != blobA || left > TicketLife || left < TicketLife-time.Minute {
		t.Errorf("%+v, %v", got, err)
	}
	bans.Order(bob, time.Hour, "stolen", time.Now())
	if _, err := a.Ticket(bob, blobA); !errors.Is(err, ErrBanned) {
		t.Errorf("to a banned peer: %v", err)
	}
	if _, err := k.SignTicket(Ticket{Peer: strings.Repeat("x", 256)}); err == nil {
		t.Error("a name that does not fit was signed")
	}
}

// Many tickets leave bounded memory behind.
func TestTicketsAreBounded(t *testing.T) {
	k := newKey(t)
	tickets := NewTickets(k.Public(), bob)
	for i := range maxShownTickets {
		tickets.shown[shownTicket{bob, [32]byte{1, byte(i), byte(i >> 8)}}] = time.Now().Add(time.Hour)
	}
	for i := range maxOwnTickets {
		tickets.own[[32]byte{1, byte(i), byte(i >> 8)}] = ownTicket{expires: time.Now().Add(time.Hour)}
	}
	raw := ticket(t, k, bob, blobA, time.Now().Add(time.Minute))
	if err := errors.Join(tickets.Show(bob, blobA, raw), tickets.Accept(blobA, raw)); err != nil {
		t.Fatal(err)
	}
	if len(tickets.shown) > maxShownTickets || len(tickets.own) > maxOwnTickets || !tickets.May(bob, blobA) || tickets.Own(blobA) == nil {
		t.Errorf("%d shown, %d own", len(tickets.shown), len(tickets.own))
	}
}

// What is parsed has been signed, so that the parser itself is fuzzed where the signature is
// left out; with it nothing that is not the cluster's is read.
func FuzzParseTicket(f *testing.F) {
	k := newKey(f)
	raw := ticket(f, k, bob, blobA, time.Now())
	f.Add(raw[:len(raw)-64])
	f.Add(raw)
	f.Add([]byte{1})
	f.Add(append(make([]byte, ticketHead), 255))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := k.Public().OpenTicket(b); err == nil && string(b) != string(raw) {
			t.Error("a forged ticket is read")
		}
		one, err := parseTicket(b)
		if err != nil {
			return
		}
		again, err := k.SignTicket(one)
		if err != nil {
			t.Fatalf("what was read cannot be signed: %v", err)
		}
		if string(again[:len(again)-64]) != string(b) {
			t.Errorf("%x is read as %x", b, again)
		}
	})
}
