package peer

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// How a download finds its swarm when no scheduler answers: it announces itself
// in the directory, then looks who else is there. As each does so in this order,
// of any two that begin at the same moment one at least finds the other, and
// tells it by its offer. Only then is the origin read.
//
// All who are found wanting the blob, the crowd, share the origin piece by
// piece: the neighbours, and those too many to be one. Else each neighbourhood
// would read a copy.

const (
	// seekFirst bounds the announcement and the first look around. Until then
	// the origin waits, of the two seconds that a pull may lose by us.
	seekFirst = 700 * time.Millisecond
	// greetWait is how long one that was found may take to answer before the
	// origin is read as if nobody was there.
	greetWait = 500 * time.Millisecond
	// seekAgain is when it looks around again at first, doubled each time up
	// to seekRarely: others come and go.
	seekAgain  = 200 * time.Millisecond
	seekRarely = 8 * time.Second
	// maxCrowd bounds the peers among whom the pieces are shared out. It is
	// gone through for each piece that is missing.
	maxCrowd = 256
	// maxHolders is among how many that hold the image a seed is drawn.
	maxHolders = 64
	// nearAlone and farAlone are how many neighbours are taken for being near,
	// and how many in other zones at most.
	nearAlone = scheduler.DefaultTopologyShare
	farAlone  = 3
)

// search is what a download knows of its search for others.
type search struct {
	on      bool      // it goes on
	looked  bool      // it has looked around once
	foundAt time.Time // when somebody new was found last
	fellows map[scheduler.PeerID]*fellow
}

// fellow is one of the crowd, and its order in turns.
type fellow struct {
	order uint64
	gone  bool // nothing comes of it: it has no share
}

// stranger is a peer that was found and is no neighbour so far.
type stranger struct {
	peer scheduler.Peer
	seed bool // it holds the image, so likely the blob
}

// findings are what one look around brought.
type findings struct{ wanting, holding []scheduler.Peer }

// seek begins to search, unless that goes on already or there is nobody to ask.
func (d *download) seek() {
	if d.search.on || d.alone() || d.p.barred(d.ref.Digest) || d.ended || d.p.cfg.Directory == nil || d.ahead.on.Load() {
		return
	}
	d.search.on = true
	jitter := d.rng.Int64N(int64(seekAgain))
	d.spawn(func() { d.searching(time.Duration(jitter)) })
}

// searching announces the download and looks around, beside the loop, until
// that has found enough.
func (d *download) searching(jitter time.Duration) {
	var announced time.Time
	within := seekFirst
	for wait := seekAgain + jitter; ; wait = min(2*wait, seekRarely) {
		ctx, cancel := context.WithTimeout(d.ctx, within)
		if time.Since(announced) > renewAfter {
			if err := d.p.announce(ctx, Key{Digest: d.ref.Digest}, within); err == nil {
				announced = time.Now()
			} else {
				d.log.Debug("announce download", "err", err)
			}
		}
		f := d.lookAround(ctx)
		d.p.unheard.directory.Store(ctx.Err() != nil && len(f.wanting)+len(f.holding) == 0)
		cancel()
		if !d.handOver(f) || sleep(d.ctx, wait) != nil {
			return
		}
		within = seekRarely
	}
}

// lookAround asks the directory once.
func (d *download) lookAround(ctx context.Context) (f findings) {
	find := func(k Key, most int) []scheduler.Peer {
		found, err := d.p.cfg.Directory.Find(ctx, k, most)
		if err != nil && ctx.Err() == nil {
			d.log.Debug("look for peers", "image", k.Image, "err", err)
		}
		return found
	}
	f.wanting = find(Key{Digest: d.ref.Digest}, maxCrowd)
	for _, manifest := range d.p.images.of(d.ref.Digest) {
		f.holding = append(f.holding, find(Key{Digest: manifest, Image: true}, maxHolders)...)
	}
	d.p.stats.found.Add(int64(len(f.wanting) + len(f.holding)))
	return f
}

// handOver gives the loop what was found. False: enough.
func (d *download) handOver(f findings) bool {
	goOn := make(chan bool, 1)
	if !d.post(func() { goOn <- d.found(f) }) {
		return false
	}
	select {
	case more := <-goOn:
		return more
	case <-d.ctx.Done():
		return false
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// found takes what a look around brought and turns to some of them, chosen as
// the scheduler would choose. It reports whether to look again.
func (d *download) found(f findings) bool {
	d.search.looked = true
	if d.alone() || d.ended || d.schedulerUp && d.partial.met {
		d.search.on = false
		return false
	}
	now := time.Now()
	strangers := make(map[scheduler.PeerID]stranger)
	for _, p := range f.wanting {
		d.crowd(p.ID)
		strangers[p.ID] = stranger{peer: p}
	}
	for _, p := range f.holding {
		strangers[p.ID] = stranger{peer: p, seed: true}
	}
	for _, s := range d.choose(strangers) {
		if n := d.meet(s.peer); n != nil {
			n.found, d.search.foundAt = true, now
			d.offer(n, false)
		}
	}
	return true
}

// crowd counts a peer among those who share the origin.
func (d *download) crowd(id scheduler.PeerID) {
	if d.search.fellows == nil {
		d.search.fellows = make(map[scheduler.PeerID]*fellow)
	}
	if d.search.fellows[id] == nil && len(d.search.fellows) < maxCrowd && id != d.p.cfg.Self.ID {
		d.search.fellows[id] = &fellow{order: peerOrder(id)}
	}
}

// crowded reports whether others have a share that were found.
func (d *download) crowded() bool {
	for _, f := range d.search.fellows {
		if !f.gone {
			return true
		}
	}
	return false
}

// disband ends the shares of all who were found so far; neighbours keep theirs.
func (d *download) disband() {
	for _, f := range d.search.fellows {
		f.gone = true
	}
}

// deserted takes one peer's share away.
func (d *download) deserted(id scheduler.PeerID) {
	if f := d.search.fellows[id]; f != nil {
		f.gone = true
	}
}

// settling reports whether the search may still bring somebody whom it would
// be a waste to read the origin without.
func (d *download) settling(now time.Time) bool {
	if d.search.on && !d.search.looked {
		return now.Sub(d.joined) < schedulerGrace+d.p.unheard.seekFirst()
	}
	return d.companions() == 0 && now.Sub(d.search.foundAt) < greetWait
}

// choose picks new neighbours among strangers, those in other zones apart.
func (d *download) choose(strangers map[scheduler.PeerID]stranger) []stranger {
	var here, away []stranger
	known, knownFar := 0, 0
	for _, n := range d.neighbours {
		switch {
		case !n.found && !n.answered(): // an acquaintance that may not care
		case d.far(n):
			knownFar++
		default:
			known++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(strangers)) {
		s := strangers[id]
		if n := d.neighbours[id]; n != nil && (n.found || n.answered()) {
			continue
		}
		if d.far(&neighbour{peer: s.peer}) {
			away = append(away, s)
		} else {
			here = append(here, s)
		}
	}
	chosen := d.weave(here, meetAlone-known)
	return append(chosen, d.weave(away, farAlone-knownFar)...)
}

// weave chooses by the scheduler's own ranking.
func (d *download) weave(among []stranger, most int) []stranger {
	self := d.p.cfg.Self
	l := scheduler.Loom[int]{
		Near: make([][]int, 2), Neighbours: most, Topology: nearAlone,
		IsSeed: func(i int) bool { return among[i].seed },
		Fit: func(i int) bool {
			return among[i].peer.ID != self.ID && !d.p.bans.banned(among[i].peer.ID, time.Now())
		},
	}
	for i, s := range among {
		l.All = append(l.All, i)
		sameZone := self.Zone != "" && s.peer.Zone == self.Zone
		if self.Rack != "" && sameZone && s.peer.Rack == self.Rack {
			l.Near[0] = append(l.Near[0], i)
		}
		if sameZone {
			l.Near[1] = append(l.Near[1], i)
		}
		if s.seed {
			l.Seeds = append(l.Seeds, i)
		}
	}
	var chosen []stranger
	for _, p := range scheduler.Weave(d.rng, l) {
		chosen = append(chosen, among[p.Who])
	}
	return chosen
}
