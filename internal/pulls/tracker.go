package pulls

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/p2pd/p2pd/internal/histogram"
	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// quietFor is how long after its last request a pull has ended, if not all
	// that its manifest lists was asked for: the rest the client had. It is
	// longer than clients wait between two layers, and costs nothing: the pull
	// is taken to have ended with its last byte.
	quietFor = 2 * time.Minute
	// askedFor is how long ago a tag or an index may have been asked for to be
	// the beginning of the pull of a manifest that it names.
	askedFor = time.Minute
	// pullsMost bounds the pulls that are followed at once, far more than one
	// node runs; the one without a request for longest goes first.
	pullsMost = 256
	// leadsMost bounds the manifests of which is remembered when what named
	// them was asked for, at 150 bytes each.
	leadsMost = 2048
	// sweepEvery is how often it is looked for pulls that have ended quietly.
	sweepEvery = time.Second
)

// Outcome is how a pull ended.
type Outcome string

// The outcomes.
const (
	Complete Outcome = "complete" // all that was asked for was sent
	Failed   Outcome = "failed"   // a blob was refused or cut, and not sent whole later
	Partial  Outcome = "partial"  // the client read parts only, or went away
)

// Source is where bytes of a blob came from.
type Source string

// The sources.
const (
	FromCache  Source = "cache"  // this node's disk
	FromPeer   Source = "peer"   // other nodes
	FromOrigin Source = "origin" // the registry
)

// Blob is one that a manifest lists. Its size is what the manifest promises.
type Blob struct {
	Digest piece.Digest
	Size   int64
}

// Name is content in a repository of a registry.
type Name struct {
	Host, Repo string
	Digest     piece.Digest
}

// Answer is a request for a blob that has ended.
type Answer struct {
	Of Name
	// Began is when it was asked for, First how long its first byte took; 0 if
	// none was sent.
	Began time.Time
	First time.Duration
	// FirstFrom is where what had come of it then was from, Source where all
	// that was sent was: who gave most.
	FirstFrom, Source Source
	// Off and Sent are the bytes that were sent; Off is negative if they were
	// several parts.
	Off, Sent int64
	Size      int64 // of the blob; negative if not known
	// FromPeers and FromOrigin are the bytes of the blob that came from
	// elsewhere since it began to arrive; both are 0 if it was here.
	FromPeers, FromOrigin int64
	// Refused says that the client did not get what it asked for, and not for
	// having gone away.
	Refused bool
	// Trace is the ID of the request's trace; empty: there is none.
	Trace string
}

// Config is what a Tracker is made of.
type Config struct {
	// Registry is what a registry is called in Stats: one of a fixed set. Nil
	// calls all the same.
	Registry func(host string) string
	// Registries are those names. They are in Stats from the start: a counter
	// that appears with its first value has grown by nothing.
	Registries []string
	// Ended is told of each pull that has ended, in the order of their ends. It
	// must not block, nor ask the tracker. Nil: nobody is.
	Ended func(Record)
}

// Tracker groups requests to pulls. Make one with New. A nil one does nothing.
// Methods may be called concurrently; the times that they are told need not
// ascend strictly.
type Tracker struct {
	cfg         Config
	first, blob map[Source]*histogram.Durations // fixed

	mu    sync.Mutex // guards what follows
	pulls map[Name]*pull
	parts map[Name][]*pull // the pulls that wait for a blob
	leads map[Name]lead
	took  map[Ending]*histogram.Durations
	swept time.Time
}

// lead is what named a manifest: when that was asked for, and the tag that began
// it; empty if there was none.
type lead struct {
	asked time.Time
	tag   string
}

// pull is one image on its way to a client.
type pull struct {
	of      Name
	tag     string // as in lead
	began   time.Time
	listed  time.Time // when its manifest was here
	last    time.Time // when a request of it last began or ended
	running int       // requests now
	trace   string    // the ID of that of its first traced request; empty: there is none
	blobs   map[piece.Digest]*part
}

// part is a blob of a pull.
type part struct {
	size    int64
	asked   time.Time // zero: not yet
	first   time.Time // when its first byte was sent; zero: not yet
	done    time.Time // when all of it was; zero: not yet
	sent    coverage
	peers   int64 // bytes of it that came from there
	origin  int64
	whole   bool
	refused bool
}

// New makes a tracker of nothing.
func New(cfg Config) *Tracker {
	if cfg.Registry == nil {
		cfg.Registry = func(string) string { return "" }
	}
	t := &Tracker{
		cfg: cfg, pulls: make(map[Name]*pull), parts: make(map[Name][]*pull),
		leads: make(map[Name]lead), took: make(map[Ending]*histogram.Durations),
		first: make(map[Source]*histogram.Durations), blob: make(map[Source]*histogram.Durations),
	}
	for _, s := range []Source{FromCache, FromPeer, FromOrigin} {
		t.first[s], t.blob[s] = histogram.New(firstBounds()...), histogram.New(blobBounds()...)
	}
	for _, registry := range cfg.Registries {
		for _, o := range []Outcome{Complete, Failed, Partial} {
			t.took[Ending{registry, o}] = histogram.New(pullBounds()...)
		}
	}
	return t
}

// Named says that something which was asked for at a time, a tag or an index,
// names a manifest: if that is asked for now, the pull has begun with it. tag is
// empty where it is an index that was asked for by its digest.
func (t *Tracker) Named(asked time.Time, tag string, of Name) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.leads[of]; !known && len(t.leads) >= leadsMost {
		t.forgetLeads(asked)
	}
	t.leads[of] = lead{asked, tag}
}

// TagOf is the tag that has led to a manifest or an index lately; empty: none has.
func (t *Tracker) TagOf(of Name) string {
	if t == nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.leads[of].tag
}

// forgetLeads makes room: what is too old goes, and if nothing is, all does.
// mu is held.
func (t *Tracker) forgetLeads(now time.Time) {
	for k, l := range t.leads {
		if now.Sub(l.asked) > askedFor {
			delete(t.leads, k)
		}
	}
	if len(t.leads) >= leadsMost {
		clear(t.leads)
	}
}

// Listed says that a client that asked for an image's manifest at a time gets
// it now, and what it lists: a pull begins, unless one of that image runs already.
func (t *Tracker) Listed(asked, now time.Time, of Name, blobs []Blob) {
	if t == nil || len(blobs) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(asked)
	if p := t.pulls[of]; p != nil {
		return
	}
	if len(t.pulls) >= pullsMost {
		t.settle(t.quietest())
	}
	p := &pull{of: of, began: asked, listed: now, last: asked, blobs: make(map[piece.Digest]*part, len(blobs))}
	if l, ok := t.leads[of]; ok && !l.asked.After(asked) && asked.Sub(l.asked) <= askedFor {
		p.began, p.tag = l.asked, l.tag
	}
	delete(t.leads, of)
	for _, b := range blobs {
		if p.blobs[b.Digest] == nil {
			p.blobs[b.Digest] = &part{size: b.Size}
			k := Name{of.Host, of.Repo, b.Digest}
			t.parts[k] = append(t.parts[k], p)
		}
	}
	t.pulls[of] = p
}

// Asked says that a client asks for a blob now. Answered must follow.
func (t *Tracker) Asked(now time.Time, of Name) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.parts[of] {
		p.running++
		p.last = now
		if b := p.blobs[of.Digest]; b.asked.IsZero() {
			b.asked = now
		}
	}
}

// Answered says that a request for a blob has ended.
func (t *Tracker) Answered(now time.Time, a Answer) {
	if t == nil {
		return
	}
	if a.First > 0 && a.Off == 0 {
		t.first[a.FirstFrom].ObserveTraced(histogram.Exemplar{Trace: a.Trace, Took: a.First, At: now})
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	grouped := false
	for _, p := range slices.Clone(t.parts[a.Of]) { // settle shortens it
		if b := p.blobs[a.Of.Digest]; !b.asked.IsZero() {
			grouped = true
			t.answered(now, a, p, b)
		}
	}
	if !grouped && a.Off == 0 && a.Sent > 0 && a.Sent == a.Size {
		t.blob[a.Source].ObserveTraced(histogram.Exemplar{Trace: a.Trace, Took: now.Sub(a.Began), At: now})
	}
	t.sweep(now)
}

// answered takes the end of a request into one pull. mu is held.
func (t *Tracker) answered(now time.Time, a Answer, p *pull, b *part) {
	p.running = max(0, p.running-1) // one that began before the pull was never counted
	p.last, p.trace = now, cmp.Or(p.trace, a.Trace)
	if a.Off >= 0 {
		b.sent.add(span{a.Off, a.Off + a.Sent})
	}
	if at := a.Began.Add(a.First); a.First > 0 && (b.first.IsZero() || at.Before(b.first)) {
		b.first = at
	}
	b.peers, b.origin = max(b.peers, a.FromPeers), max(b.origin, a.FromOrigin)
	b.refused = b.refused || a.Refused
	if b.whole || !b.sent.whole(b.size) {
		return
	}
	b.whole, b.done = true, now
	t.blob[a.Source].ObserveTraced(histogram.Exemplar{Trace: a.Trace, Took: now.Sub(b.asked), At: now})
	for _, other := range p.blobs {
		if !other.whole {
			return
		}
	}
	t.settle(p)
}

// Sweep ends the pulls that nothing was asked of for long. Requests and Stats do
// so by themselves; who wants to hear of ends asks for it now and then.
func (t *Tracker) Sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
}

// sweep ends the pulls that nothing was asked of for long. mu is held.
func (t *Tracker) sweep(now time.Time) {
	if now.Sub(t.swept) < sweepEvery {
		return
	}
	t.swept = now
	for _, p := range t.pulls {
		if p.running == 0 && now.Sub(p.last) > quietFor {
			t.settle(p)
		}
	}
}

// quietest is the pull without a request for longest. mu is held.
func (t *Tracker) quietest() (found *pull) {
	for _, p := range t.pulls {
		if found == nil || p.last.Before(found.last) {
			found = p
		}
	}
	return found
}

// settle counts a pull that has ended, and forgets it. One of which no blob was
// asked for was none: many tools read manifests alone. mu is held.
func (t *Tracker) settle(p *pull) {
	delete(t.pulls, p.of)
	for d := range p.blobs {
		k := Name{p.of.Host, p.of.Repo, d}
		t.parts[k] = slices.DeleteFunc(t.parts[k], func(other *pull) bool { return other == p })
		if len(t.parts[k]) == 0 {
			delete(t.parts, k)
		}
	}
	outcome, asked := p.outcome()
	if !asked {
		return
	}
	e := Ending{t.cfg.Registry(p.of.Host), outcome}
	if t.took[e] == nil {
		t.took[e] = histogram.New(pullBounds()...)
	}
	t.took[e].ObserveTraced(histogram.Exemplar{Trace: p.trace, Took: p.last.Sub(p.began), At: p.last})
	if t.cfg.Ended != nil {
		t.cfg.Ended(p.record(outcome))
	}
}

// outcome is how a pull has gone so far; false if no blob was asked for.
func (p *pull) outcome() (o Outcome, asked bool) {
	o = Complete
	for _, b := range p.blobs {
		if b.asked.IsZero() {
			continue
		}
		asked = true
		switch {
		case b.whole:
		case b.refused:
			return Failed, true
		default:
			o = Partial
		}
	}
	return o, asked
}
