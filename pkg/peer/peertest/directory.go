package peertest

import (
	"context"
	"sync"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// recordLife is how long an announcement lasts.
const recordLife = 15 * time.Minute

// Directory is a directory in memory. Each peer sees it through a Desk.
type Directory struct {
	// Latency is how long an announcement or a question takes.
	Latency time.Duration

	mu      sync.Mutex // guards records
	records map[peer.Key]map[scheduler.PeerID]record
}

type record struct {
	peer  scheduler.Peer
	until time.Time
}

// Desk is one peer's way to a Directory. It implements peer.Directory.
type Desk struct {
	d    *Directory
	self scheduler.Peer
	down func() bool
}

// Desk makes a peer's way to the directory.
func (d *Directory) Desk(self scheduler.Peer) *Desk {
	return &Desk{d: d, self: self, down: func() bool { return false }}
}

// Announce implements peer.Directory.
func (k *Desk) Announce(ctx context.Context, key peer.Key) error {
	if err := sleepUntil(ctx, time.Now().Add(k.d.Latency)); err != nil {
		return err
	}
	if k.down() {
		return errDown
	}
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	if k.d.records == nil {
		k.d.records = make(map[peer.Key]map[scheduler.PeerID]record)
	}
	if k.d.records[key] == nil {
		k.d.records[key] = make(map[scheduler.PeerID]record)
	}
	k.d.records[key][k.self.ID] = record{k.self, time.Now().Add(recordLife)}
	return nil
}

// Find implements peer.Directory.
func (k *Desk) Find(ctx context.Context, key peer.Key, most int) ([]scheduler.Peer, error) {
	if err := sleepUntil(ctx, time.Now().Add(k.d.Latency)); err != nil {
		return nil, err
	}
	if k.down() {
		return nil, errDown
	}
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	var found []scheduler.Peer
	for id, r := range k.d.records[key] { // in random order, as it is in a large one
		if id != k.self.ID && time.Now().Before(r.until) && len(found) < most {
			found = append(found, r.peer)
		}
	}
	return found, nil
}
