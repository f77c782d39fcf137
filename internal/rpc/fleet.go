package rpc

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// settleTime is how long a peer waits before it takes swarms to a scheduler
	// that has come up: by then all peers have heard of it, and go together.
	settleTime = 2 * time.Second
	// leaveAfter is how long a peer stays in a swarm at a scheduler that owns it
	// no more, so that who is late still finds somebody there.
	leaveAfter = 3 * time.Second
	// assembleTime is how long a peer that has found one scheduler waits for the
	// others that this one names: what it announced to the wrong one would have
	// to move.
	assembleTime = time.Second
	// lookEvery is how often waits are looked at.
	lookEvery = 250 * time.Millisecond
)

// FleetHandler is a Handler for several schedulers. *peer.Peer is one.
type FleetHandler interface {
	Handler
	// Moved says that the swarms of those blobs are with another scheduler now,
	// which has not heard of them from this peer.
	Moved(whose func(piece.Digest) bool)
}

// FleetConfig is what a Fleet is made of: how to reach any scheduler.
type FleetConfig struct {
	// Doors are HOST:PORT where schedulers can be, one or several. They tell of
	// each other.
	Doors []string
	// Handler hears of all schedulers as if they were one.
	Handler FleetHandler
	// Shun is told whom operators have banned, and for how long from now on; 0
	// lifts a ban. It must not block. Nil heeds no bans.
	Shun func(scheduler.Shun)
	// Meet is told of peers to begin with should all schedulers go. It must not
	// block. Nil has no use for them.
	Meet func(peers []scheduler.Peer)
	// Preheat takes decisions about jobs, of any scheduler. It must not block. Nil
	// does none.
	Preheat func(scheduler.Decision)
	// Client is for each; its Address and Handler are not used.
	Client ClientConfig
}

// Fleet keeps a stream to every scheduler of a cluster, and takes each event to
// the one that the blob's swarm belongs to. To its handler it looks like one
// scheduler, which is there as long as any is. One that goes loses its swarms to
// the others within a moment.
type Fleet struct {
	cfg    FleetConfig
	trips  *roundTrips
	happen chan func()
	routes atomic.Pointer[routes]
	ended  chan struct{} // closed when Run's loop has ended
	failed atomic.Pointer[error]

	// Owned by Run's loop:
	voices map[string]*voice // by the address that is dialled
	every  time.Duration     // between summaries, as the handler was told last; 0: it was not
	wg     sync.WaitGroup
	ctx    context.Context

	mu        sync.Mutex // guards what follows
	joined    map[piece.Digest]struct{}
	sightings *sightings // all that was vouched for, for schedulers to come
}

// routes are the schedulers that swarms may belong to, by name. They do not
// change; new ones take their place.
type routes struct {
	names []string // sorted
	to    map[string]*line
}

// NewFleet makes one. Run must be called.
func NewFleet(cfg FleetConfig) *Fleet {
	if cfg.Client.Logger == nil {
		cfg.Client.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Fleet{
		cfg: cfg, trips: newRoundTrips(), happen: make(chan func()), ended: make(chan struct{}),
		voices: make(map[string]*voice), joined: make(map[piece.Digest]struct{}), sightings: newSightings(),
	}
	f.routes.Store(&routes{})
	return f
}

// Run keeps streams up until ctx ends. It fails only if the configuration can
// never work.
func (f *Fleet) Run(ctx context.Context) error {
	probe := NewClient(f.cfg.Client)
	if err := probe.introducible(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer f.wg.Wait()
	defer close(f.ended)
	defer cancel()
	f.ctx = ctx
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		f.look(time.Now())
		select {
		case happened := <-f.happen:
			happened()
		case <-tick.C:
		case <-ctx.Done():
			if len(f.routes.Swap(&routes{}).names) > 0 {
				f.cfg.Handler.Detached()
			}
			return nil
		}
	}
}

// Trouble is why there is no scheduler; nil while there is one, and before an
// attempt has failed. It may be called at any time.
func (f *Fleet) Trouble() error {
	why := f.failed.Load()
	if why == nil || len(f.routes.Load().names) > 0 {
		return nil
	}
	return *why
}

// post has the loop run something, unless it has ended.
func (f *Fleet) post(happened func()) {
	select {
	case f.happen <- happened:
	case <-f.ended:
	case <-f.ctx.Done():
	}
}

// look brings voices and routes in line with what is known.
func (f *Fleet) look(now time.Time) {
	f.dedupe()
	f.hire()
	f.reroute(now)
	f.setInterval()
}

// setInterval has the handler report as seldom as any scheduler asks: a Summary goes
// to all of them.
func (f *Fleet) setInterval() {
	lines := f.routes.Load().to
	if len(lines) == 0 {
		f.every = 0 // who attaches anew begins anew
		return
	}
	every := scheduler.SummaryEvery
	for _, l := range lines {
		every = max(every, l.every)
	}
	if every != max(f.every, scheduler.SummaryEvery) {
		f.every = every
		f.cfg.Handler.Decide(scheduler.SummaryInterval{To: f.cfg.Client.Self.ID, Every: every, Reason: "it is the longest that any scheduler asks for"})
	}
}

// dedupe keeps, of two ways to the same scheduler, the one that was there first.
func (f *Fleet) dedupe() {
	first := make(map[string]*voice)
	for _, v := range f.voices {
		if v.line == nil {
			continue
		}
		other := first[v.line.name]
		if other != nil && v.line.since.After(other.line.since) {
			v, other = other, v
		}
		first[v.line.name] = v
		if other != nil {
			f.dismiss(other)
		}
	}
}

// hire starts to speak to who is named, and stops with who is not.
func (f *Fleet) hire() {
	attached, wanted := f.known()
	if len(attached) == 0 {
		for _, door := range f.cfg.Doors {
			f.speakTo(door)
		}
		return
	}
	for name := range wanted {
		if attached[name] == nil {
			f.speakTo(name)
		}
	}
	for _, v := range f.voices {
		// Whoever is behind a door is named by the others, if it is up. But
		// one that is alone names nobody, and neither does anybody name it.
		if v.line == nil && len(wanted) > 0 && !wanted[v.dial] {
			f.dismiss(v)
		}
	}
}

// known is who is attached, and whom they name.
func (f *Fleet) known() (attached map[string]*voice, wanted map[string]bool) {
	attached, wanted = make(map[string]*voice), make(map[string]bool)
	for _, v := range f.voices {
		if v.line == nil {
			continue
		}
		attached[v.line.name] = v
		for _, name := range v.names {
			wanted[name] = true
		}
	}
	return attached, wanted
}

// speakTo starts a client, if there is none for that address.
func (f *Fleet) speakTo(address string) {
	if f.voices[address] != nil {
		return
	}
	ctx, cancel := context.WithCancel(f.ctx)
	v := &voice{fleet: f, dial: address, cancel: cancel}
	cfg := f.cfg.Client
	cfg.Address, cfg.Handler = address, v
	cfg.Failed = func(err error) { f.failed.Store(&err) }
	v.client = NewClient(cfg)
	f.mu.Lock()
	v.client.sightings.copy(f.sightings)
	f.mu.Unlock()
	f.voices[address] = v
	f.wg.Go(func() {
		if err := v.client.Run(ctx); err != nil {
			f.cfg.Client.Logger.Warn("no way to a scheduler", "address", address, "err", err)
		}
	})
}

func (f *Fleet) dismiss(v *voice) {
	v.cancel()
	v.line = nil
	if f.voices[v.dial] == v {
		delete(f.voices, v.dial)
	}
}

// reroute finds out who is there for swarms now, and moves those whose owner has
// changed.
func (f *Fleet) reroute(now time.Time) {
	old := f.routes.Load()
	if len(old.names) == 0 && !f.assembled(now) {
		return
	}
	fresh := &routes{to: make(map[string]*line)}
	for _, v := range f.voices {
		if v.serves() && (len(old.names) == 0 || old.to[v.line.name] != nil || now.Sub(v.line.since) >= settleTime) {
			fresh.to[v.line.name] = v.line
		}
	}
	fresh.names = slices.Sorted(maps.Keys(fresh.to))
	if maps.Equal(fresh.to, old.to) {
		return
	}
	f.routes.Store(fresh)
	switch {
	case len(old.names) == 0:
		f.cfg.Handler.Attached(f)
	case len(fresh.names) == 0:
		f.cfg.Handler.Detached()
	default:
		f.cfg.Client.Logger.Info("swarms move", "schedulers", fresh.names, "before", old.names)
		f.cfg.Handler.Moved(func(d piece.Digest) bool { return old.owner(d) != fresh.owner(d) })
		f.leaveOld(old)
	}
}

// assembled reports whether all schedulers that are named are there, or have
// been waited for.
func (f *Fleet) assembled(now time.Time) bool {
	attached, wanted := f.known()
	waited, all := false, true
	for _, v := range attached {
		waited = waited || now.Sub(v.line.since) >= assembleTime
		all = all && v.said
	}
	for name := range wanted {
		all = all && attached[name] != nil
	}
	return all || waited
}

// leaveOld has this peer leave the swarms that it took away, some time later, at
// the schedulers that had them.
func (f *Fleet) leaveOld(old *routes) {
	f.mu.Lock()
	digests := slices.Collect(maps.Keys(f.joined))
	f.mu.Unlock()
	f.wg.Go(func() {
		select {
		case <-time.After(leaveAfter):
		case <-f.ctx.Done():
			return
		}
		now := f.routes.Load()
		for _, d := range digests {
			was := old.owner(d)
			if was != nil && was != now.owner(d) {
				was.out.Send(scheduler.Leave{Peer: f.cfg.Client.Self.ID, Digest: d})
			}
		}
	})
}
