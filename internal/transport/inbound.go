package transport

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// accept handles the stream of a neighbour from its first byte to its last.
// libp2p calls it in a goroutine of its own.
func (l *links) accept(s network.Stream) {
	defer s.Reset()
	if !l.join() {
		return
	}
	defer l.wg.Done()
	<-l.started // streams may come in before Run
	n := l.register(s)
	if n == nil {
		return
	}
	err := l.read(n, s)
	if errors.Is(err, io.EOF) {
		err = errStreamDone
	}
	l.cut(n, nil, s, err)
}

// join counts the calling goroutine among those that stop waits for.
func (l *links) join() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return false
	}
	l.wg.Add(1)
	return true
}

// register makes s the stream of its neighbour. If there is one already, the
// neighbour has lost that link, or restarted, and we had not heard of it yet.
func (l *links) register(s network.Stream) *neighbour {
	for {
		l.mu.Lock()
		if l.stopped {
			l.mu.Unlock()
			return nil
		}
		n := l.neighbour(s.Conn().RemotePeer())
		old := n.in
		if old == nil {
			n.in, n.used, n.retry = s, time.Now(), time.Time{}
			if n.out != nil {
				n.out.poke()
			}
			l.mu.Unlock()
			return n
		}
		l.mu.Unlock()
		if old.Conn() != s.Conn() {
			old.Conn().Close() // what is left from before a restart
		}
		l.cut(n, nil, old, errReplaced)
	}
}

// read delivers messages until the stream ends.
func (l *links) read(n *neighbour, s network.Stream) error {
	from := scheduler.PeerID(n.id.String())
	frames := frameReader{
		r: bufio.NewReaderSize(s, readBuffer),
		reserve: func(size int) (func(), error) {
			scope := s.Scope()
			err := scope.ReserveMemory(size, network.ReservationPriorityAlways)
			return func() { scope.ReleaseMemory(size) }, err
		},
		begun: func() { s.SetReadDeadline(time.Now().Add(frameTimeout)) },
	}
	for {
		m, size, err := frames.next()
		if err != nil {
			return fmt.Errorf("read from neighbour: %w", err)
		}
		s.SetReadDeadline(time.Time{})
		l.count.messagesRead.Add(1)
		l.count.linkBytesIn.Add(int64(size))
		if o, ok := m.(peer.Offer); ok {
			o.From.ID = from
			m = o
		}
		l.deliver(n, s, from, m)
	}
}

// deliver hands m to the Handler if s is still part of the link.
func (l *links) deliver(n *neighbour, s network.Stream, from scheduler.PeerID, m peer.Message) {
	n.deliver.Lock()
	defer n.deliver.Unlock()
	l.mu.Lock()
	current := n.in == s
	handler := l.handler
	n.used = time.Now()
	l.mu.Unlock()
	if current && handler != nil {
		handler.Receive(from, m)
	}
}
