package containerd

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/p2pd/p2pd/pkg/piece"
)

// loop owns what is known of containerd's content. All that comes and goes
// passes here, so that the swarm hears it in the order in which it happened.
type loop struct {
	c      *Content
	swarm  Swarm
	copies Copies

	listed  map[piece.Digest]listing // what containerd says it has
	refused map[piece.Digest]stamp   // files that are not what they should be
	untold  map[piece.Digest]int64   // proven, but the swarm could not be told; by size
	queue   []listing                // to be hashed, the newest last

	lists   chan []listing // from watch
	jobs    chan listing   // to prove
	results chan result    // from prove
}

func (l *loop) run(ctx context.Context) error {
	busy := false // prove has a job
	for {
		var jobs chan<- listing
		var next listing
		if n := len(l.queue); n > 0 && !busy {
			jobs, next = l.jobs, l.queue[n-1]
		}
		select {
		case all := <-l.lists:
			l.take(all)
		case jobs <- next:
			l.queue = l.queue[:len(l.queue)-1]
			busy = true
		case r := <-l.results:
			busy = false
			l.proven(r)
		case <-l.c.changed:
			l.sweep()
		case <-ctx.Done():
			return nil
		}
	}
}

// take takes a list of all that containerd has, the newest first.
func (l *loop) take(all []listing) {
	all = all[:min(len(all), maxBlobs)]
	clear(l.listed)
	for _, b := range all {
		l.listed[b.digest] = b
	}
	for d, was := range l.refused {
		if now, err := l.c.look(d); err != nil || now != was || l.listed[d].digest != d {
			delete(l.refused, d)
		}
	}
	l.sweep()
	for d, size := range l.untold {
		l.offer(d, size)
	}
	l.queue = l.queue[:0]
	for _, b := range slices.Backward(all) {
		_, refused := l.refused[b.digest]
		if l.proof(b.digest) == nil && !refused && b.size > 0 {
			l.queue = append(l.queue, b)
		} else if !refused {
			// Again, for our own copy may have come after containerd's.
			l.copies.Demote(b.digest)
		}
	}
	l.count()
}

// proven takes the end of a job.
func (l *loop) proven(r result) {
	_, listed := l.listed[r.digest]
	switch {
	case !listed:
	case r.proof != nil:
		l.c.mu.Lock()
		l.c.proven[r.digest] = r.proof
		l.c.mu.Unlock()
		l.copies.Demote(r.digest)
		l.offer(r.digest, r.size)
		l.c.log.Debug("offering a blob of containerd's", "blob", r.digest.Short(), "bytes", r.size)
	case r.mismatch:
		l.refused[r.digest] = r.stamp
		l.count()
		l.c.cfg.Damaged(r.digest, r.err)
		l.c.log.Warn("a blob of containerd's is not what it should be and is not offered", "blob", r.digest.Short(), "err", r.err)
	case !errors.Is(r.err, fs.ErrNotExist) && !errors.Is(r.err, context.Canceled):
		l.c.log.Warn("cannot read a blob of containerd's", "blob", r.digest.Short(), "err", r.err)
	}
}

// offer tells the swarm of a proven blob, now or with a later list.
func (l *loop) offer(d piece.Digest, size int64) {
	if l.swarm.Offer(d, size) {
		delete(l.untold, d)
	} else {
		l.untold[d] = size
	}
}

// sweep drops what containerd no longer has, by its list or on its disk.
func (l *loop) sweep() {
	l.c.mu.Lock()
	all := make(map[piece.Digest]*proof, len(l.c.proven))
	for d, p := range l.c.proven {
		all[d] = p
	}
	l.c.mu.Unlock()
	for d, p := range all {
		now, err := l.c.look(d)
		if _, listed := l.listed[d]; listed && err == nil && now == p.stamp {
			continue
		}
		l.c.mu.Lock()
		delete(l.c.proven, d)
		l.c.mu.Unlock()
		delete(l.untold, d)
		l.copies.Reinstate(d)
		l.swarm.Withdraw(d)
		l.c.log.Debug("a blob of containerd's is gone", "blob", d.Short())
	}
}

func (l *loop) proof(d piece.Digest) *proof {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.c.proven[d]
}

func (l *loop) count() {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.c.refused = len(l.refused)
}
