package transport

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

var compareBitfields = cmp.AllowUnexported(piece.Bitfield{})

// offerOf is an offer of a blob of three pieces, of which the sender has two.
func offerOf(from scheduler.Peer) peer.Offer {
	have := piece.NewBitfield(3)
	have.Set(0)
	have.Set(2)
	return peer.Offer{
		From:   from,
		Digest: piece.Sum([]byte("blob")),
		Size:   3 * piece.MinSize,
		Have:   have,
		Claims: []piece.Digest{piece.Sum([]byte("0")), piece.Sum([]byte("2"))},
	}
}

func TestMessagesGoBothWays(t *testing.T) {
	a, b := launch(t, loopback(t)), launch(t, loopback(t))
	offer := offerOf(a.Self())
	have := peer.Have{Digest: offer.Digest, Pieces: []peer.Claim{{Index: 1, Digest: piece.Sum([]byte("1"))}}}
	a.Send(b.Self(), offer)
	a.Send(b.Self(), have)
	for _, want := range []peer.Message{offer, have} {
		got := await(t, b.received, "message")
		if diff := cmp.Diff(received{a.Self().ID, want}, got, compareBitfields, cmp.AllowUnexported(received{})); diff != "" {
			t.Errorf("message differs (-want +got):\n%s", diff)
		}
	}
	// The answer needs no address: the connection is there.
	b.Send(scheduler.Peer{ID: a.Self().ID}, peer.Bye{Digest: offer.Digest})
	got := await(t, a.received, "answer")
	if diff := cmp.Diff(received{b.Self().ID, peer.Bye{Digest: offer.Digest}}, got, cmp.AllowUnexported(received{})); diff != "" {
		t.Errorf("answer differs (-want +got):\n%s", diff)
	}
	if conns := a.Stats().Conns; conns != 1 {
		t.Errorf("a pair of neighbours has %d connections, want 1", conns)
	}
}

func TestOfferCarriesTheProvenID(t *testing.T) {
	a, b, victim := launch(t, loopback(t)), launch(t, loopback(t)), launch(t, loopback(t))
	a.Send(b.Self(), offerOf(victim.Self()))
	got := await(t, b.received, "offer")
	if from := got.m.(peer.Offer).From.ID; from != a.Self().ID || got.from != from {
		t.Errorf("offer is from %s by %s, want the sender %s", from, got.from, a.Self().ID)
	}
}

func TestAllPairs(t *testing.T) {
	const count = 6
	nodes := make([]*node, count)
	for i := range nodes {
		nodes[i] = launch(t, loopback(t))
	}
	want := make(map[string]bool)
	for _, from := range nodes {
		for _, to := range nodes {
			if from == to {
				continue
			}
			d := piece.Sum([]byte(from.Self().ID + to.Self().ID))
			want[d.String()] = true
			from.Send(to.Self(), peer.Bye{Digest: d})
		}
	}
	got := make(map[string]bool)
	for _, to := range nodes {
		for range count - 1 {
			r := await(t, to.received, "message")
			d := r.m.(peer.Bye).Digest
			if d != piece.Sum([]byte(r.from+to.Self().ID)) {
				t.Errorf("message to %s says it is from %s, and is not", to.Self().ID, r.from)
			}
			got[d.String()] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages differ (-want +got):\n%s", diff)
	}
}

func TestManyMessagesKeepTheirOrder(t *testing.T) {
	a, b := launch(t, loopback(t)), launch(t, loopback(t))
	const count = 900
	for i := range count {
		a.Send(b.Self(), peer.Have{Pieces: []peer.Claim{{Index: i, Digest: piece.Digest{1}}}})
	}
	for i := range count {
		if got := await(t, b.received, "message").m.(peer.Have).Pieces[0].Index; got != i {
			t.Fatalf("message %d is number %d", i, got)
		}
	}
}

func TestLargestOfferArrives(t *testing.T) {
	a, b := launch(t, loopback(t)), launch(t, loopback(t))
	offer := peer.Offer{
		Digest: piece.Sum(nil), Size: piece.MaxBlobSize,
		Have: piece.FullBitfield(piece.MaxPieces), Claims: make([]piece.Digest, piece.MaxPieces),
	}
	for i := range offer.Claims {
		offer.Claims[i] = piece.Sum(fmt.Append(nil, i))
	}
	a.Send(b.Self(), offer)
	got := await(t, b.received, "offer").m.(peer.Offer)
	if !slices.Equal(got.Claims, offer.Claims) || !got.Have.Full() {
		t.Error("offer has changed on its way")
	}
}

// closedPort is an address of a peer that is not there.
func closedPort(t *testing.T) scheduler.Peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ghost, err := New(loopback(t))
	if err != nil {
		t.Fatal(err)
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	if err := ghost.Run(done, nil); err != nil {
		t.Fatal(err)
	}
	return ghost.Self()
}

func TestDeadPeerIsLost(t *testing.T) {
	a, ghost := launch(t, loopback(t)), closedPort(t)
	for range 3 {
		a.Send(ghost, peer.Bye{})
		if got := await(t, a.lost, "loss"); got.peer != ghost.ID || got.err == nil {
			t.Errorf("lost %+v, want %s", got, ghost.ID)
		}
	}
	if got := a.Stats().DialsFailed; got != 3 {
		t.Errorf("%d dials failed, want 3", got)
	}
}

func TestPeerThatCannotBeIsLost(t *testing.T) {
	a := launch(t, loopback(t))
	a.Send(scheduler.Peer{ID: "nobody"}, peer.Bye{})
	if got := await(t, a.lost, "loss"); got.peer != "nobody" {
		t.Errorf("lost %+v", got)
	}
}

func TestPeerAtAnothersAddressIsLost(t *testing.T) {
	a, b, ghost := launch(t, loopback(t)), launch(t, loopback(t)), closedPort(t)
	ghost.Addrs = b.Self().Addrs
	a.Send(ghost, peer.Bye{})
	if got := await(t, a.lost, "loss"); got.peer != ghost.ID {
		t.Errorf("lost %+v, want %s", got, ghost.ID)
	}
	if len(b.received) > 0 {
		t.Error("the message reached somebody else")
	}
}

func TestRestartedPeerIsLostOnceAndFoundAgain(t *testing.T) {
	a, b := launch(t, loopback(t)), launch(t, loopback(t))
	a.Send(b.Self(), peer.Bye{})
	await(t, b.received, "message")
	b.Send(a.Self(), peer.Bye{})
	await(t, a.received, "message")

	b.stop()
	if got := await(t, a.lost, "loss"); got.peer != b.Self().ID {
		t.Errorf("lost %+v, want %s", got, b.Self().ID)
	}
	again := launch(t, b.config) // other ports, same key
	if again.Self().ID != b.Self().ID {
		t.Fatal("the identity has changed")
	}
	a.Send(again.Self(), peer.Bye{Digest: piece.Digest{7}})
	if got := await(t, again.received, "message").m.(peer.Bye); got.Digest != (piece.Digest{7}) {
		t.Errorf("got %v", got)
	}
	again.Send(a.Self(), peer.Bye{})
	await(t, a.received, "message after the restart")
	if len(a.lost) > 0 {
		t.Errorf("lost again: %+v", <-a.lost)
	}
	if len(b.lost) > 0 {
		t.Error("a peer that stops tells its own handler of losses")
	}
}

func TestMalformedFrameCutsTheLink(t *testing.T) {
	a, b := launch(t, loopback(t)), launch(t, loopback(t))
	b.Send(a.Self(), peer.Bye{}) // a link in the other direction to cut, too
	await(t, a.received, "message")
	id, err := libpeer.Decode(string(b.Self().ID))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := a.Host().NewStream(ctx, id, protocolHave)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	if _, err := s.Write([]byte{0, 0, 0, 1, 99}); err != nil {
		t.Fatal(err)
	}
	if got := await(t, b.lost, "loss"); got.peer != a.Self().ID {
		t.Errorf("lost %+v, want %s", got, a.Self().ID)
	}
	if got := await(t, a.lost, "loss at the other side"); got.peer != b.Self().ID {
		t.Errorf("lost %+v, want %s", got, b.Self().ID)
	}
}

func TestFullQueueCutsTheLink(t *testing.T) {
	cfg := loopback(t)
	cfg.Limits.Queue = 100
	a, ghost := launch(t, cfg), closedPort(t)
	a.Send(ghost, peer.Have{Pieces: make([]peer.Claim, 10)})
	if got := await(t, a.lost, "loss"); got.err.Error() != errQueueFull.Error() {
		t.Errorf("lost for %v, want %v", got.err, errQueueFull)
	}
}

func TestLinksAreBounded(t *testing.T) {
	cfg := loopback(t)
	cfg.Limits.Links = 2
	hub := launch(t, cfg)
	others := []*node{launch(t, loopback(t)), launch(t, loopback(t)), launch(t, loopback(t))}
	for i, n := range others {
		hub.Send(n.Self(), peer.Bye{Digest: piece.Digest{byte(i + 1)}})
		await(t, n.received, "message")
	}
	if got := await(t, hub.lost, "loss"); got.peer != others[0].Self().ID {
		t.Errorf("lost %s, want the one that was silent longest", got.peer)
	}
	eventually(t, "two links are left", func() bool { return hub.Stats().Links == 2 })
}

func TestMessagesBeforeRunAreSent(t *testing.T) {
	early, err := New(loopback(t))
	if err != nil {
		t.Fatal(err)
	}
	b := launch(t, loopback(t))
	early.Send(b.Self(), peer.Bye{})
	b.Send(early.Self(), peer.Bye{})
	n := &node{Transport: early, received: make(chan received, 10), lost: make(chan lost, 10)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- early.Run(ctx, n) }()
	await(t, b.received, "message sent before Run")
	await(t, n.received, "message received before Run")
	cancel()
	if err := await(t, done, "end of Run"); err != nil {
		t.Error(err)
	}
	early.Send(b.Self(), peer.Bye{}) // after the end: nothing happens
}

func TestRetriesOfADeadPeerSlowDown(t *testing.T) {
	n := &neighbour{}
	var last time.Duration
	for i := range 40 {
		n.backOff(newOutbound(scheduler.Peer{}))
		wait := time.Until(n.retry)
		if wait > lastRetry || (i < 4 && wait <= last) {
			t.Fatalf("wait %d is %v after %v", i, wait, last)
		}
		last = wait
	}
}
