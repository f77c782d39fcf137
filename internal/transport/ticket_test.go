package transport

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// ticketed is a member with tickets. It gives what it holds to who shows one, as a
// peer.Peer does.
func (c cluster) ticketed() (*node, *member.Tickets) {
	c.t.Helper()
	var tickets *member.Tickets
	n, _ := c.launchWith(c, "", time.Hour, func(cfg *Config, id string) {
		tickets = member.NewTickets(c.key.Public(), id)
		cfg.Tickets = tickets
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.upload = func(_ context.Context, child scheduler.PeerID, d piece.Digest, off, size int64) (*peer.Upload, error) {
		content := n.blobs[d]
		if content == nil || !tickets.May(string(child), d) {
			return nil, peer.ErrNotHeld
		}
		return peer.NewUpload(bytes.NewReader(content[off:off+size]), func() {}), nil
	}
	return n, tickets
}

// A request for pieces carries the child's ticket, over TLS; what is somebody else's, for
// another blob, forged or too old is as good as none.
func TestTicketsTravelWithRequests(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	parent, _ := c.ticketed()
	child, tickets := c.ticketed()
	d := parent.hold([]byte("secret"))
	own := string(child.Self().ID)
	sign := func(k member.Key, who string, digest piece.Digest, life time.Duration) []byte {
		raw, err := k.SignTicket(member.Ticket{Peer: who, Digest: digest, Expires: time.Now().Add(life)})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	fetch := func() ([]byte, error) { return fetchAll(child, parent.Self(), d, 0, 6) }
	if got, err := fetch(); !errors.Is(err, peer.ErrNotHeld) {
		t.Errorf("without a ticket: %q, %v", got, err)
	}
	for name, raw := range map[string][]byte{
		"another peer's": sign(c.key, string(parent.Self().ID), d, time.Hour), "another blob's": sign(c.key, own, piece.Sum(nil), time.Hour),
		"expired": sign(c.key, own, d, -time.Second), "another cluster's": sign(newCluster(t).key, own, d, time.Hour), "no ticket at all": []byte("let me in"),
	} {
		child.client.cfg.Tickets = pushyTicket(raw)
		if got, err := fetch(); !errors.Is(err, peer.ErrNotHeld) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	child.client.cfg.Tickets = tickets
	if err := tickets.Accept(d, sign(c.key, own, d, time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, err := fetch(); err != nil || string(got) != "secret" {
		t.Errorf("with a ticket: %q, %v", got, err)
	}
}

// pushyTicket is shown whatever it is worth.
type pushyTicket []byte

func (p pushyTicket) Own([32]byte) []byte               { return p }
func (pushyTicket) Show(string, [32]byte, []byte) error { return nil }

// An offer carries its sender's ticket over a real link.
func TestTicketsTravelWithOffers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a, _ := c.launch(c, "", time.Hour)
	b, _ := c.launch(c, "", time.Hour)
	o := offerOf(a.Self())
	o.Ticket = []byte("ticket")
	a.Send(b.Self(), o)
	got, ok := await(t, b.received, "offer").m.(peer.Offer)
	if !ok || string(got.Ticket) != "ticket" || got.From.ID != a.Self().ID {
		t.Errorf("%+v", got)
	}
	if _, err := appendMessage(nil, peer.Offer{Ticket: make([]byte, maxTicket+1)}); err == nil {
		t.Error("a ticket that nobody would take was sent")
	}
}
