package peer

import (
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// pace is choice.Pace for goroutines. The zero value is ready.
type pace struct {
	mu   sync.Mutex // guards what follows
	pace choice.Pace
}

func (p *pace) observe(n int64, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pace.Observe(n, took)
}

func (p *pace) observeNeighbour(n int64, lead, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pace.ObserveNeighbour(n, lead, took)
}

func (p *pace) early(n int64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pace.Early(n)
}

func (p *pace) expect(n int64) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pace.Expect(n)
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
	added int64
}

// count is how many there have ever been.
func (b *bans) count() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.added
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
	b.added++
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
