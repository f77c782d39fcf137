package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// town is some schedulers that know of each other.
type town struct {
	t     *testing.T
	names []string
	cores map[string]*register
	tell  map[string]*Server
	halt  map[string]func()
}

// register is a core that knows who is in which swarm.
type register struct {
	mu     sync.Mutex
	joined map[piece.Digest]int // how often
	ended  []scheduler.LeaseID
	grant  bool // answer each Join with a lease
}

func (l *register) Step(_ time.Time, e scheduler.Event) (ds []scheduler.Decision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := e.(type) {
	case scheduler.Join:
		for _, b := range e.Blobs {
			l.joined[b.Digest]++
			if l.grant {
				ds = append(ds, scheduler.Grant{To: e.Peer, Digest: b.Digest, Lease: scheduler.Lease{ID: 7, Whole: true}})
			}
		}
	case scheduler.Leave:
		delete(l.joined, e.Digest)
	case scheduler.LeaseEnd:
		l.ended = append(l.ended, e.Lease)
	case scheduler.PeerDown:
		clear(l.joined)
	}
	return ds
}

func (l *register) swarms() []piece.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []piece.Digest
	for d := range l.joined {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b piece.Digest) int { return bytes.Compare(a[:], b[:]) })
	return all
}

func newTown(t *testing.T, schedulers int) *town {
	w := &town{t: t, cores: make(map[string]*register), tell: make(map[string]*Server), halt: make(map[string]func())}
	for range schedulers {
		l := listen(t, "127.0.0.1:0") // keeps the port until the scheduler has it
		name := l.Addr().String()
		_ = l.Close()
		w.names = append(w.names, name)
		w.start(name)
	}
	w.roster(w.names...)
	return w
}

func (w *town) start(name string) {
	w.cores[name] = &register{joined: make(map[piece.Digest]int)}
	w.tell[name], _, w.halt[name] = serve(w.t, name, ServerConfig{Core: w.cores[name], Name: name})
}

// roster has all schedulers say who is up.
func (w *town) roster(names ...string) {
	for _, s := range w.tell {
		s.SetRoster(names, "test")
	}
}

// owned is the blobs that a scheduler owns among those that are up.
func owned(name string, up []string, blobs []piece.Digest) []piece.Digest {
	var all []piece.Digest
	for _, d := range blobs {
		if scheduler.Owner(up, d) == name {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b piece.Digest) int { return bytes.Compare(a[:], b[:]) })
	return all
}

// knows waits until each of the schedulers has exactly its own swarms.
func (w *town) knows(up []string, blobs []piece.Digest) {
	w.t.Helper()
	for _, name := range up {
		want := owned(name, up, blobs)
		wait(w.t, "scheduler "+name+" has its swarms and no others", func() bool { return slices.Equal(w.cores[name].swarms(), want) })
	}
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// resident is a peer that is in some swarms, and says so when it is asked.
type resident struct {
	fleet *Fleet
	*handler
	blobs []piece.Digest
	mu    sync.Mutex
	s     peer.Scheduler
}

func (r *resident) Attached(s peer.Scheduler) {
	r.mu.Lock()
	r.s = s
	r.mu.Unlock()
	r.Moved(func(piece.Digest) bool { return true })
	r.handler.Attached(s)
}

func (r *resident) Moved(whose func(piece.Digest) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var some []scheduler.Membership
	for _, d := range r.blobs {
		if whose(d) {
			some = append(some, scheduler.Membership{Digest: d, Size: scheduler.SizeUnknown})
		}
	}
	r.s.Send(scheduler.Join{Peer: "p", Blobs: some})
}

func blobsOf(n int) (all []piece.Digest) {
	for i := range n {
		all = append(all, piece.Sum(binary.BigEndian.AppendUint32(nil, uint32(i))))
	}
	return all
}

// settle runs a fleet with a peer that is in 60 swarms.
func settle(t *testing.T, doors ...string) *resident {
	t.Helper()
	r := &resident{handler: newHandler(), blobs: blobsOf(60)}
	f := NewFleet(FleetConfig{Doors: doors, Handler: r, Client: ClientConfig{Self: scheduler.Peer{ID: "p"}, RetryMost: 200 * time.Millisecond}})
	r.fleet = f
	run(t, "fleet", func(ctx context.Context) error { return f.Run(ctx) })
	return r
}

// A peer that knows one scheduler finds the others, and takes each blob to its
// owner.
func TestEachSwarmHasItsScheduler(t *testing.T) {
	w := newTown(t, 3)
	r := settle(t, w.names[1])
	next(t, "attachment", r.attached)
	w.knows(w.names, r.blobs)
}

// One of three ends: its swarms, and no others, move to the other two. It comes
// back: they return, and those who had them are left.
func TestSwarmsMove(t *testing.T) {
	w := newTown(t, 3)
	r := settle(t, w.names...)
	next(t, "attachment", r.attached)
	w.knows(w.names, r.blobs)
	gone, rest := w.names[0], w.names[1:]
	before := make(map[string]int)
	for _, name := range rest {
		before[name] = len(w.cores[name].swarms())
	}
	w.halt[gone]()
	delete(w.tell, gone)
	w.knows(rest, r.blobs)
	for _, name := range rest {
		w.cores[name].mu.Lock()
		for d, n := range w.cores[name].joined {
			if n > 1 {
				t.Errorf("blob %s was announced %d times to its scheduler, though it never moved", d.Short(), n)
			}
		}
		w.cores[name].mu.Unlock()
	}

	w.start(gone)
	w.roster(w.names...)
	w.knows(w.names, r.blobs)
	if len(r.detached) > 0 || len(r.attached) > 0 {
		t.Error("the peer was told that there is no scheduler, though two were there")
	}
}

// One that is about to stop says so by leaving itself out. Its swarms move while
// it still runs.
func TestSwarmsMoveBeforeASchedulerStops(t *testing.T) {
	w := newTown(t, 2)
	r := settle(t, w.names...)
	next(t, "attachment", r.attached)
	w.knows(w.names, r.blobs)
	w.tell[w.names[0]].SetRoster(w.names[1:], "it stops")
	w.knows(w.names[1:], r.blobs)
	wait(t, "the one that stops has been left", func() bool { return len(w.cores[w.names[0]].swarms()) == 0 })
}

// What a scheduler grants that does not own the swarm is given back, and the
// peer never hears of it.
func TestOnlyTheOwnerDecides(t *testing.T) {
	w := newTown(t, 2)
	r := settle(t, w.names...)
	next(t, "attachment", r.attached)
	w.knows(w.names, r.blobs)
	theirs := owned(w.names[1], w.names, r.blobs)[0]
	w.tell[w.names[0]].do(func() {
		w.tell[w.names[0]].route([]scheduler.Decision{scheduler.Grant{To: "p", Digest: theirs, Lease: scheduler.Lease{ID: 9, Whole: true}, Reason: "mistaken"}})
	})
	wait(t, "the lease has been given back", func() bool {
		w.cores[w.names[0]].mu.Lock()
		defer w.cores[w.names[0]].mu.Unlock()
		return slices.Contains(w.cores[w.names[0]].ended, 9)
	})
	if len(r.decisions) > 0 {
		t.Errorf("the peer heard of %v", <-r.decisions)
	}
}

// A peer reports as seldom as any of its schedulers asks, for as long as that one is
// there.
func TestTheLongestIntervalHolds(t *testing.T) {
	w := newTown(t, 2)
	r := settle(t, w.names...)
	next(t, "attachment", r.attached)
	w.knows(w.names, r.blobs)
	ask := func(of int, every time.Duration) {
		w.tell[w.names[of]].do(func() {
			w.tell[w.names[of]].route([]scheduler.Decision{scheduler.SummaryInterval{To: "p", Every: every}})
		})
	}
	hears := func(want time.Duration) {
		t.Helper()
		if d, ok := next(t, "decision", r.decisions).(scheduler.SummaryInterval); !ok || d.Every != want {
			t.Fatalf("the peer hears of %v, want %v", d, want)
		}
	}
	ask(1, 2*time.Second)
	hears(2 * time.Second)
	ask(0, 8*time.Second)
	hears(8 * time.Second)
	ask(0, time.Second)
	hears(2 * time.Second) // which the other one asked for before
	ask(0, 4*time.Second)
	hears(4 * time.Second)
	w.halt[w.names[0]]()
	hears(2 * time.Second)
}

// All schedulers go, and come back: the peer is told both, and announces all
// anew.
func TestAllSchedulersGo(t *testing.T) {
	w := newTown(t, 2)
	r := settle(t, w.names[0])
	next(t, "attachment", r.attached)
	w.knows(w.names, r.blobs)
	for _, name := range w.names {
		w.halt[name]()
		delete(w.tell, name)
	}
	next(t, "end of all schedulers", r.detached)
	for range 1000 { // what failed is told a moment later
		if r.fleet.Trouble() != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if r.fleet.Trouble() == nil {
		t.Error("without a scheduler there is no trouble")
	}
	for _, name := range w.names {
		w.start(name)
	}
	w.roster(w.names...)
	next(t, "attachment", r.attached)
	w.knows(w.names, r.blobs)
	if err := r.fleet.Trouble(); err != nil {
		t.Errorf("with schedulers the trouble is %v", err)
	}
}

// One that is alone, as those without a fleet and those of older versions are,
// has all swarms.
func TestASchedulerAlone(t *testing.T) {
	core := &register{joined: make(map[piece.Digest]int)}
	_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: core})
	r := settle(t, addr)
	next(t, "attachment", r.attached)
	wait(t, "it has all swarms", func() bool { return len(core.swarms()) == len(r.blobs) })
}
