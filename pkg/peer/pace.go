package peer

import (
	"slices"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// paceSamples is how many transfers the rolling median looks back on.
	paceSamples = 33
	// paceMin is how many it needs before it says anything.
	paceMin = 5
)

// pace is the rolling median of how long this node's piece transfers take,
// over all downloads. The zero value is ready.
type pace struct {
	mu      sync.Mutex // guards what follows
	samples []float64  // seconds a byte, a ring
	next    int
	median  float64
}

// observe adds one transfer of n bytes.
func (p *pace) observe(n int64, took time.Duration) {
	if n <= 0 {
		return
	}
	s := took.Seconds() / float64(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.samples) < paceSamples {
		p.samples = append(p.samples, s)
	} else {
		p.samples[p.next] = s
		p.next = (p.next + 1) % paceSamples
	}
	sorted := slices.Clone(p.samples)
	slices.Sort(sorted)
	p.median = sorted[len(sorted)/2]
}

// expect is how long n bytes usually take; false while too little is known.
func (p *pace) expect(n int64) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.samples) < paceMin {
		return 0, false
	}
	return time.Duration(p.median * float64(n) * float64(time.Second)), true
}

const (
	// banFor is how long a peer that sent false bytes is shunned.
	banFor = 5 * time.Minute
	// maxBans bounds the list; past it the oldest ban is lifted first.
	maxBans = 1024
)

// bans remembers peers that sent false bytes, for a while. The zero value is
// ready.
type bans struct {
	mu    sync.Mutex // guards what follows
	until map[scheduler.PeerID]time.Time
}

func (b *bans) add(id scheduler.PeerID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.until == nil {
		b.until = make(map[scheduler.PeerID]time.Time)
	}
	if len(b.until) >= maxBans {
		var oldest scheduler.PeerID
		for id, t := range b.until {
			if oldest == "" || t.Before(b.until[oldest]) {
				oldest = id
			}
		}
		delete(b.until, oldest)
	}
	b.until[id] = now.Add(banFor)
}

func (b *bans) banned(id scheduler.PeerID, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.until[id]
	if ok && now.After(t) {
		delete(b.until, id)
		return false
	}
	return ok
}
