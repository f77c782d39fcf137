package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// world is everything that a run is about. One goroutine owns it.
type world struct {
	cfg    Config
	now    int64
	events queue
	rng    *rand.Rand
	brain  brain
	origin sender
	nodes  []*node
	byID   map[scheduler.PeerID]*node
	layers []layer
	zones  []zone
	left   int // nodes that are alive and not through
	waves  []wave
	stats  stats
}

// layer is one blob of the image.
type layer struct {
	digest piece.Digest
	layout piece.Layout
}

// zone has lines to and from the rest of the world.
type zone struct{ in, out link }

// wave is nodes that begin together, once those before are through.
type wave struct{ first, end, left int }

// stats are totals of a run.
type stats struct {
	originBytes  int64
	peerBytes    int64
	crossBytes   int64 // from peers of other zones
	messages     int64 // from nodes to the scheduler
	hedges       int64
	busy         int64
	selfReads    int64
	wasted       int64 // bytes that came twice
	schedulerCPU time.Duration
	events       int64
}

// clock is the world's time as the scheduler and the choices take it.
func (w *world) clock() time.Time { return time.Unix(0, w.now) }

// after lets h have its turn after a while.
func (w *world) after(d time.Duration, h handler, kind uint8) {
	w.events.push(w.now+int64(d), h, kind)
}

func newWorld(cfg Config) (*world, error) {
	w := &world{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x73696d)),
		byID: make(map[scheduler.PeerID]*node, cfg.Nodes), left: cfg.Nodes,
		zones: make([]zone, max(1, cfg.Zones)),
	}
	w.origin = sender{w: w, up: link{rate: cfg.Origin / 1e9}}
	w.brain.start(w)
	for k := range cfg.Layers {
		size := cfg.Size / int64(cfg.Layers)
		layout, err := piece.NewLayout(size)
		if err != nil {
			return nil, fmt.Errorf("layer of %d bytes: %w", size, err)
		}
		w.layers = append(w.layers, layer{piece.Sum(fmt.Appendf(nil, "layer %d", k)), layout})
	}
	for i := range cfg.Nodes {
		n := newNode(w, i)
		w.nodes = append(w.nodes, n)
		w.byID[n.peer.ID] = n
	}
	w.line()
	w.schedule()
	return w, nil
}

// line gives each zone its lines: what all its nodes send, over the
// oversubscription.
func (w *world) line() {
	for i := range w.zones {
		rate := w.cfg.Up * float64((w.cfg.Nodes+len(w.zones)-1)/len(w.zones)) / max(1, w.cfg.Oversubscription)
		w.zones[i] = zone{in: link{rate: rate / 1e9}, out: link{rate: rate / 1e9}}
	}
}

// schedule says when each node comes and goes.
func (w *world) schedule() {
	per := (w.cfg.Nodes + max(1, w.cfg.Waves) - 1) / max(1, w.cfg.Waves)
	for first := 0; first < w.cfg.Nodes; first += per {
		end := min(first+per, w.cfg.Nodes)
		w.waves = append(w.waves, wave{first, end, end - first})
	}
	w.begin(0)
	for _, n := range w.nodes {
		if w.rng.Float64() < w.cfg.Dying {
			n.dies = time.Duration(w.rng.Int64N(int64(w.cfg.fluid()))) + w.cfg.Arrivals
			w.after(n.dies, n, nodeDies)
		}
	}
}

// begin lets the nodes of a wave come, spread over Arrivals.
func (w *world) begin(k int) {
	for _, n := range w.nodes[w.waves[k].first:w.waves[k].end] {
		n.wave = k
		n.arrives = w.now
		if w.cfg.Arrivals > 0 {
			n.arrives += w.rng.Int64N(int64(w.cfg.Arrivals))
		}
		w.events.push(n.arrives, n, nodeArrives)
	}
}

// gone counts a node that is through, or dead.
func (w *world) gone(n *node) {
	w.left--
	v := &w.waves[n.wave]
	if v.left--; v.left == 0 && n.wave+1 < len(w.waves) {
		w.begin(n.wave + 1)
	}
}

// run lets time pass until all nodes are through.
func (w *world) run() error {
	limit := int64(w.cfg.Limit)
	for w.left > 0 {
		e, ok := w.events.pop()
		if !ok {
			return fmt.Errorf("nothing more happens at %v, and %d nodes are not through", time.Duration(w.now), w.left)
		}
		if e.at > limit {
			return fmt.Errorf("%d nodes are not through after %v of virtual time", w.left, w.cfg.Limit)
		}
		w.now = e.at
		w.stats.events++
		e.h.fire(e.kind)
	}
	return nil
}

// away is how long a message takes from a to b.
func (w *world) away(a, b *node) time.Duration {
	switch {
	case a.zone != b.zone:
		return w.cfg.BetweenZones
	case a.rack != b.rack:
		return w.cfg.InZone
	}
	return w.cfg.InRack
}
