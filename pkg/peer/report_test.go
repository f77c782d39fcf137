package peer_test

import (
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// summaries is a scheduler that knows nobody and, unless it is mute, says so to who
// joins, once. It notes when it is told of running downloads, but for calls for help,
// and of how many.
type summaries struct {
	p    *peer.Peer
	mute bool

	mu     sync.Mutex // guards what follows
	joined map[piece.Digest]int
	at     []time.Time
	blobs  []int
}

// heard is when it was told so far, and of how many each time.
func (s *summaries) heard() (at []time.Time, blobs []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at), slices.Clone(s.blobs)
}

func (s *summaries) Send(e scheduler.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case scheduler.Join:
		d := e.Blobs[0].Digest
		if s.joined[d]++; s.joined[d] == 1 && !s.mute {
			s.p.Decide(scheduler.Introduce{To: "me", Digest: d, Size: scheduler.SizeUnknown})
		}
	case scheduler.Leave:
		delete(s.joined, e.Digest)
	case scheduler.Summary:
		if !e.Blobs[0].Stalled {
			s.at, s.blobs = append(s.at, time.Now()), append(s.blobs, len(e.Blobs))
		}
	}
}

// Whenever a download begins on an idle peer, the scheduler hears how it fares
// within a second, but not so early that nothing can be seen, and each second
// from then on: how soon it may help a node whose peers trickle is not luck.
func TestTheFirstSummaryIsDueAWhileAfterTheBeginning(t *testing.T) {
	for _, idle := range []time.Duration{0, 250 * time.Millisecond, 10*time.Second + 900*time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			p := peer.New(peer.Config{Self: scheduler.Peer{ID: "me"}, Store: storetest.NewMemory(0)})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- p.Run(ctx) }()
			s := &summaries{p: p, joined: make(map[piece.Digest]int)}
			p.Attached(s)
			time.Sleep(idle)

			begun := time.Now()
			c, err := p.Open(ctx, peer.Ref{Digest: piece.Sum([]byte("wanted")), Size: 8 << 20})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			at, _ := s.heard()
			if len(at) < 3 {
				t.Fatalf("%d summaries in 5 s, want one a second", len(at))
			}
			if first := at[0].Sub(begun); first < 700*time.Millisecond || first > time.Second {
				t.Errorf("idle for %v: the first summary came after %v, want 0.7 to 1 s", idle, first)
			}
		})
	}
}

// reporter is a peer with one download, of which nothing comes but what src gives,
// and the summaries that it sent.
type reporter struct {
	*peer.Peer
	said *summaries
	ref  peer.Ref
}

// reports runs f beside such a peer, in a bubble of its own.
func reports(t *testing.T, src peer.Source, f func(t *testing.T, p reporter)) {
	synctest.Test(t, func(t *testing.T) {
		p := reporter{
			Peer: peer.New(peer.Config{Self: scheduler.Peer{ID: "me"}, Store: storetest.NewMemory(0)}),
			ref:  peer.Ref{Digest: piece.Sum([]byte("wanted")), Size: 8 << 20, Source: src},
		}
		p.said = &summaries{p: p.Peer, joined: make(map[piece.Digest]int)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		p.Attached(p.said)
		f(t, p)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pull has a client want the blob for a while, and returns how many summaries of it
// there were.
func (p reporter) pull(t *testing.T, length time.Duration, told ...scheduler.Decision) int {
	t.Helper()
	c, err := p.Open(t.Context(), p.ref)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // until it has joined: nothing is told before
	before, _ := p.said.heard()
	for _, d := range told {
		p.Decide(d)
	}
	time.Sleep(length)
	synctest.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	after, _ := p.said.heard()
	time.Sleep(time.Minute) // nobody wants it any more
	return len(after) - len(before)
}

// A scheduler of many hears of each less often, until it says otherwise or its stream
// ends.
func TestSummariesComeAsOftenAsAsked(t *testing.T) {
	reports(t, nil, func(t *testing.T, p reporter) {
		every := scheduler.SummaryInterval{To: "me", Every: 4 * time.Second}
		if n := p.pull(t, 20*time.Second+time.Second/2, every); n < 4 || n > 6 {
			t.Errorf("%d summaries in 20 s at one in 4 s, want 4 to 6", n)
		}
		if n := p.pull(t, 20*time.Second+time.Second/2); n < 4 || n > 6 {
			t.Errorf("%d summaries in 20 s of a pull later on, want 4 to 6", n)
		}
		p.Attached(p.said)
		if n := p.pull(t, 20*time.Second+time.Second/2); n < 20 {
			t.Errorf("%d summaries in 20 s to a scheduler that asked for nothing, want one a second", n)
		}
	})
}

// A scheduler that has not come to a Join yet is not told how the download fares; one
// that never answers is, after a while.
func TestSummariesWaitForTheAnswer(t *testing.T) {
	reports(t, nil, func(t *testing.T, p reporter) {
		p.said.mute = true
		if n := p.pull(t, 4*time.Second+time.Second/2); n > 0 {
			t.Errorf("%d summaries in 4 s without an answer, want none", n)
		}
		if n := p.pull(t, 9*time.Second+time.Second/2); n < 4 || n > 5 {
			t.Errorf("%d summaries in 9 s without an answer, want those of the last 4", n)
		}
	})
}

// drip is an origin that gives a byte now and then.
type drip struct{}

func (drip) Host() string                        { return "origin.test" }
func (drip) Stat(context.Context) (int64, error) { return 8 << 20, nil }
func (drip) Read(context.Context, int64, int64) (io.ReadCloser, int64, error) {
	return io.NopCloser(dripping{}), 8 << 20, nil
}

type dripping struct{}

func (dripping) Read(p []byte) (int, error) {
	time.Sleep(500 * time.Millisecond)
	return copy(p, "x"), nil
}

// A lease is another matter: it is taken back if the scheduler hears nothing of it.
// Who has one tells of all that it downloads, so that the scheduler sees what peers
// bring. It does so also when the swarm moves to a scheduler that does not answer.
func TestALeaseIsToldOfEachSecond(t *testing.T) {
	for name, moves := range map[string]bool{"of a swarm that stays": false, "of a swarm that moves": true} {
		t.Run(name, func(t *testing.T) {
			reports(t, drip{}, func(t *testing.T, p reporter) {
				other, err := p.Open(t.Context(), peer.Ref{Digest: piece.Sum([]byte("other")), Size: 8 << 20})
				if err != nil {
					t.Fatal(err)
				}
				defer other.Close()
				if moves {
					time.AfterFunc(1500*time.Millisecond, func() { p.Moved(func(d piece.Digest) bool { return d == p.ref.Digest }) })
				}
				n := p.pull(t, 10*time.Second+time.Second/2,
					scheduler.SummaryInterval{To: "me", Every: 8 * time.Second},
					scheduler.Grant{To: "me", Digest: p.ref.Digest, Lease: scheduler.Lease{ID: 1, Whole: true}})
				whole := 0
				_, blobs := p.said.heard()
				for _, b := range blobs[:n] {
					if b == 2 { // others tell of a size as soon as it is known
						whole++
					}
				}
				if whole < 10 {
					t.Errorf("%d summaries of both in 10 s of reading under a lease, want one a second", whole)
				}
			})
		})
	}
}
