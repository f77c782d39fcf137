package peer_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// strict is a cluster whose peers want tickets.
func strict(t *testing.T, nodes int) *peertest.Cluster {
	t.Helper()
	key, err := member.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return lab(t, nodes, func(cfg *peertest.Config) { cfg.Key = &key })
}

// Tickets cost neither copies nor time.
func TestAStrictClusterSharesAsEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blob := content(60, 24*mib)
		size := int64(len(blob))
		took := make(map[bool]time.Duration)
		for isStrict, c := range map[bool]*peertest.Cluster{true: strict(t, 16), false: lab(t, 16, nil)} {
			took[isStrict] = pullAll(t, c.Nodes, c.Origin.Add(blob), size)
			t.Logf("strict %v: took %v; origin %.3f copies", isStrict, took[isStrict], copies(c, size))
			atMost(t, "origin copies", copies(c, size), 1.05)
		}
		atMost(t, "time", took[true], took[false]*5/4)
	})
}

// Without a scheduler who has tickets goes on with them, and shares; who has none gets nothing
// from others, takes all from the origin, and loses less than two seconds by asking.
func TestTicketsWithoutAScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := strict(t, 5)
		late := c.Nodes[4]
		blob := content(61, 24*mib)
		d, size := c.Origin.Add(blob), int64(len(blob))
		done := make(chan struct{})
		go func() { pullAll(t, c.Nodes[:4], d, size); close(done) }()
		time.Sleep(300 * time.Millisecond)
		c.StopScheduler()
		<-done
		t.Logf("with tickets: origin %.2f copies", copies(c, size))
		atMost(t, "origin copies of those with tickets", copies(c, size), 1.8)

		before := c.Origin.Bytes()
		took := pullAll(t, []*peertest.Node{late}, d, size)
		line := time.Duration(float64(size) / (100 * mbit) * float64(time.Second))
		atMost(t, "time beyond the line's", took-line, 2*time.Second)
		if got := late.Peer.Stats().ReceivedPeer; got != 0 || c.Origin.Bytes()-before != size {
			t.Errorf("who has no ticket got %d bytes from peers, and %d from the origin", got, c.Origin.Bytes()-before)
		}
	})
}

// watched is a network that remembers what is said.
type watched struct{ said chan peer.Message }

func (w watched) Send(_ scheduler.Peer, m peer.Message) { w.said <- m }
func (watched) Fetch(context.Context, scheduler.Peer, piece.Digest, int64, int64) (io.ReadCloser, error) {
	return nil, errors.New("not here")
}

// Who shows no ticket that is good is told what is told of a blob that is not here, whether it
// is or arrives; who shows one is told and given all.
func TestWhoShowsNoTicketLearnsNothing(t *testing.T) {
	t.Parallel()
	key, err := member.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	net := watched{make(chan peer.Message, 100)}
	store := storetest.NewMemory(0)
	d := keep(t, store, []byte("secret"))
	p := peer.New(peer.Config{Self: scheduler.Peer{ID: "me"}, Store: store, Network: net, Tickets: member.NewTickets(key.Public(), "me")})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	signed := func(who string, digest piece.Digest, expires time.Time) []byte {
		raw, err := key.SignTicket(member.Ticket{Peer: who, Digest: digest, Expires: expires})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	later := time.Now().Add(time.Hour)
	offer := func(digest piece.Digest, ticket []byte) peer.Message {
		p.Receive("other", peer.Offer{From: scheduler.Peer{ID: "other"}, Digest: digest, Size: scheduler.SizeUnknown, Ticket: ticket})
		select {
		case m := <-net.said:
			return m
		case <-time.After(20 * time.Second):
			t.Fatal("it says nothing")
			return nil
		}
	}
	absent := offer(piece.Sum([]byte("is not here")), nil)
	for name, ticket := range map[string][]byte{
		"none": nil, "somebody else's": signed("third", d, later), "for another blob": signed("other", piece.Sum(nil), later),
		"expired": signed("other", d, time.Now().Add(-time.Minute)), "no ticket at all": []byte("let me in"),
	} {
		if got := offer(d, ticket); got != (peer.Bye{Digest: d}) {
			t.Errorf("%s: it says %#v; of what it does not have it says %#v", name, got, absent)
		}
		if _, err := p.Upload(t.Context(), "other", d, 0, 6); !errors.Is(err, peer.ErrNotHeld) {
			t.Errorf("%s: an upload: %v", name, err)
		}
	}
	reply, ok := offer(d, signed("other", d, later)).(peer.Offer)
	if !ok || !reply.Have.Full() {
		t.Errorf("with a ticket: %#v", reply)
	}
	up, err := p.Upload(t.Context(), "other", d, 0, 6)
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	if got, err := io.ReadAll(up.Reader); err != nil || string(got) != "secret" {
		t.Errorf("with a ticket: %q, %v", got, err)
	}
	if _, err := p.Upload(t.Context(), "third", d, 0, 6); !errors.Is(err, peer.ErrNotHeld) {
		t.Errorf("another peer's ticket lets it have an upload: %v", err)
	}
}
