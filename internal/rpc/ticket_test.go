package rpc

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/member"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// ahead is a brain whose clock can be put forward.
type ahead struct {
	brain *scheduler.Scheduler
	by    atomic.Int64
}

func (a *ahead) now() time.Time { return time.Now().Add(time.Duration(a.by.Load())) }

// Step implements Core.
func (a *ahead) Step(_ time.Time, e scheduler.Event) []scheduler.Decision {
	return a.brain.Step(a.now(), e)
}

// A download that lasts for many hours has a ticket that is good all the time: each summary
// that comes after half of a ticket's life brings the next one, over the wire.
func TestTicketsAreRenewedForHours(t *testing.T) {
	t.Parallel()
	key, err := member.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	layout, err := piece.NewLayout(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	d := piece.Sum([]byte("a large layer"))
	core := &ahead{brain: scheduler.New(scheduler.Config{Seed: 1, Tickets: true})}
	_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: core, Ticket: func(to scheduler.PeerID, d piece.Digest) ([]byte, error) {
		return key.SignTicket(member.Ticket{Peer: string(to), Digest: d, Expires: core.now().Add(member.TicketLife)})
	}})
	h, _, _ := dial(t, addr, "a")
	stream := next(t, "stream", h.attached)
	have := piece.NewBitfield(layout.Count())
	stream.Send(scheduler.Join{Blobs: []scheduler.Membership{{Digest: d, Size: layout.Size(), Have: have}}})

	ticket := func() member.Ticket {
		t.Helper()
		for {
			if given, ok := next(t, "ticket", h.decisions).(scheduler.Ticket); ok {
				signed, err := key.Public().OpenTicket(given.Signed)
				if err != nil || given.Digest != d {
					t.Fatalf("%+v: %v", given, err)
				}
				return signed
			}
		}
	}
	good := func(k member.Ticket) {
		t.Helper()
		if err := k.Check("a", d, core.now()); err != nil {
			t.Errorf("after %v: %v", time.Duration(core.by.Load()), err)
		}
	}
	last := ticket()
	for i := range 24 {
		core.by.Add(int64(scheduler.TicketRenew + time.Minute))
		good(last)
		have.Set(i % layout.Count())
		stream.Send(scheduler.Summary{Blobs: []scheduler.Progress{{Digest: d, Size: layout.Size(), Have: have.Clone()}}})
		renewed := ticket()
		good(renewed)
		if !renewed.Expires.After(last.Expires) {
			t.Errorf("the ticket until %v is followed by one until %v", last.Expires, renewed.Expires)
		}
		last = renewed
	}
}
