package transport

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// links are the HAVE links to all neighbours.
//
// A link is two one-way streams: ours, which carries what we send, and the
// neighbour's. Each side opens its own when it first has something to say.
// The two live and die together: when either breaks, both are cut, and the
// Handler is told once. So both sides agree on what has been voided.
type links struct {
	host   host.Host
	limits Limits
	log    *slog.Logger
	count  *counters

	wg      sync.WaitGroup // goroutines of links and stream handlers
	started chan struct{}  // closed by start

	mu      sync.Mutex   // guards what follows and the fields of neighbours
	handler peer.Handler // nil before start and after stop
	stopped bool
	peers   map[libpeer.ID]*neighbour
}

// neighbour is one peer that has a link, or lost one a moment ago. The lock
// of links guards its fields.
type neighbour struct {
	id libpeer.ID
	// deliver is held while the Handler is told something of this
	// neighbour, so that Lost and Receive come in the order of the truth.
	// It is taken before the lock of links. Send does not take it, so a
	// Handler may Send.
	deliver sync.Mutex

	out     *outbound      // our stream, or the attempt to make it; nil if none
	in      network.Stream // the neighbour's stream; nil if none
	used    time.Time      // when a message last went either way
	evicted bool           // chosen to make room; about to be cut

	failures int       // links in a row that did not last
	retry    time.Time // not dialled before
}

// What ends a link, apart from failures of the network.
var (
	errQueueFull  = errors.New("neighbour takes messages too slowly")
	errEvicted    = errors.New("link cut to make room for others")
	errReplaced   = errors.New("neighbour opened a new stream")
	errStreamDone = errors.New("neighbour closed the stream")
	errStopped    = errors.New("transport is shut down")
)

func newLinks(h host.Host, cfg Config, count *counters) *links {
	l := &links{
		host:    h,
		limits:  cfg.Limits,
		log:     cfg.Logger,
		count:   count,
		started: make(chan struct{}),
		peers:   make(map[libpeer.ID]*neighbour),
	}
	h.SetStreamHandler(protocolHave, l.accept)
	return l
}

// start begins to deliver to h and to dial for what was sent so far.
func (l *links) start(h peer.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handler = h
	for _, n := range l.peers {
		if n.out != nil {
			l.run(n, n.out)
		}
	}
	close(l.started)
}

// stop, which follows start, cuts all links without telling the Handler, closes the host, and
// returns when all goroutines have ended.
func (l *links) stop() error {
	l.mu.Lock()
	l.stopped = true
	l.handler = nil
	for _, n := range l.peers {
		if n.out != nil {
			n.out.cancel(errStopped)
		}
		if n.in != nil {
			n.in.Reset()
		}
	}
	l.mu.Unlock()
	err := l.host.Close()
	l.wg.Wait()
	return err
}

// send queues m for a peer and dials if need be.
func (l *links) send(to scheduler.Peer, m peer.Message) {
	id, err := libpeer.Decode(string(to.ID))
	if err != nil {
		// Such a peer cannot exist; whoever named it forgets it.
		l.log.Debug("message to a peer that cannot be", "peer", to.ID, "err", err)
		l.lostStranger(to.ID, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	n := l.neighbour(id)
	if n.out == nil {
		n.out = newOutbound(to)
		if l.handler != nil {
			l.run(n, n.out)
		}
	}
	if len(to.Addrs) > 0 {
		n.out.to = to
	}
	n.used = time.Now()
	switch err := n.out.push(m, l.limits.Queue); {
	case errors.Is(err, errQueueFull):
		n.out.cancel(err)
	case err != nil:
		l.log.Error("message cannot be sent", "peer", to.ID, "err", err)
	default:
		l.count.messagesSent.Add(1)
	}
}

// lostStranger tells the Handler of a peer that has no neighbour entry.
func (l *links) lostStranger(id scheduler.PeerID, err error) {
	if !l.join() {
		return
	}
	go func() {
		defer l.wg.Done()
		<-l.started
		l.mu.Lock()
		handler := l.handler
		l.mu.Unlock()
		if handler != nil {
			handler.Lost(id, err)
		}
	}()
}

// neighbour finds or makes the entry of id. The caller holds the lock.
func (l *links) neighbour(id libpeer.ID) *neighbour {
	if n := l.peers[id]; n != nil {
		return n
	}
	if len(l.peers) >= l.limits.Links {
		l.evict()
	}
	n := &neighbour{id: id, used: time.Now()}
	l.peers[id] = n
	return n
}

// evict makes room: by forgetting peers without a link, else by cutting the
// link that was silent longest. The caller holds the lock; a link that is cut
// leaves in its own goroutine.
func (l *links) evict() {
	var oldest *neighbour
	for id, n := range l.peers {
		switch {
		case n.out == nil && n.in == nil:
			// Whoever is being told of a loss still needs the entry.
			if n.deliver.TryLock() {
				delete(l.peers, id)
				n.deliver.Unlock()
			}
		case !n.evicted && (oldest == nil || n.used.Before(oldest.used)):
			oldest = n
		}
	}
	if len(l.peers) < l.limits.Links || oldest == nil {
		return
	}
	oldest.evicted = true
	if oldest.out != nil {
		oldest.out.cancel(errEvicted)
	} else {
		oldest.in.Reset()
	}
}

// cut ends the link that has out or in as one of its ends, and tells the
// Handler. It does nothing if that link is gone already.
func (l *links) cut(n *neighbour, out *outbound, in network.Stream, cause error) {
	n.deliver.Lock()
	defer n.deliver.Unlock()
	l.mu.Lock()
	if (out == nil || n.out != out) && (in == nil || n.in != in) {
		l.mu.Unlock()
		return
	}
	out, in = n.out, n.in
	n.out, n.in, n.evicted = nil, nil, false
	n.backOff(out)
	handler := l.handler
	l.mu.Unlock()

	if out != nil {
		out.cancel(cause)
	}
	if in != nil {
		in.Reset()
	}
	if handler != nil {
		l.count.linksLost.Add(1)
		l.log.Debug("link lost", "peer", n.id, "err", cause)
		handler.Lost(scheduler.PeerID(n.id.String()), cause)
	}
}

// alive is how many neighbours have a stream in either direction now.
func (l *links) alive() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	alive := 0
	for _, n := range l.peers {
		if n.in != nil || (n.out != nil && !n.out.made.IsZero()) {
			alive++
		}
	}
	return alive
}
