package rpc

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/p2pd/p2pd/pkg/scheduler"
)

// lines forwards connections to a scheduler until they are frozen: then they take what
// is sent, and say nothing.
type lines struct {
	net.Listener

	mu    sync.Mutex // guards what follows
	open  []*frozen
	asked int // connections that came
}

// frozen is a connection whose answers can be held back for good.
type frozen struct {
	net.Conn
	gate chan struct{} // closed once answers are held back
}

func forward(t *testing.T, to string) *lines {
	t.Helper()
	l := &lines{Listener: listen(t, "127.0.0.1:0")}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			f := &frozen{near, make(chan struct{})}
			l.mu.Lock()
			l.asked++
			l.open = append(l.open, f)
			l.mu.Unlock()
			all.Go(func() { _, _ = io.Copy(far, near); far.Close() })
			all.Go(func() { _, _ = io.Copy(f, far); near.Close() })
		}
	})
	t.Cleanup(func() {
		l.Close()
		l.mu.Lock()
		for _, f := range l.open {
			f.Close()
		}
		l.mu.Unlock()
		all.Wait()
	})
	return l
}

// Write implements io.Writer. What is written to a frozen connection is lost.
func (f *frozen) Write(p []byte) (int, error) {
	select {
	case <-f.gate:
		return len(p), nil
	default:
		return f.Conn.Write(p)
	}
}

// freeze holds back all answers of the connections that there are.
func (l *lines) freeze() (asked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.open {
		close(f.gate)
	}
	return l.asked
}

func (l *lines) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// A peer stays with a scheduler that says nothing but that it is well. One that takes
// what is sent, and answers nothing, it gives up with the connection, and comes to it
// by another.
func TestASchedulerThatHangsIsGivenUp(t *testing.T) {
	t.Run("today's", func(t *testing.T) {
		_, addr, _ := serve(t, "127.0.0.1:0", ServerConfig{Core: newCore()})
		testHanging(t, addr)
	})
	t.Run("earlier", func(t *testing.T) {
		testHanging(t, pretend(t, func(g attachServer) error {
			if _, err := g.Recv(); err != nil {
				return err
			}
			if err := g.SendHeader(metadata.Pairs(nameKey, "")); err != nil {
				return err
			}
			for {
				if m, err := g.Recv(); err != nil {
					return err
				} else if m.GetBeat() != nil {
					t.Error("it is sent what it does not take")
				}
			}
		}))
	})
}

func testHanging(t *testing.T, addr string) {
	t.Helper()
	const every = 20 * time.Millisecond
	l := forward(t, addr)
	h := newHandler()
	c := NewClient(ClientConfig{Address: l.Addr().String(), Self: scheduler.Peer{ID: "a"}, Handler: h})
	c.every, c.silence = every, 100*every
	run(t, "client", c.Run)
	next(t, "attached", h.attached)
	select {
	case <-h.detached:
		t.Fatal("it is given up, though it answers")
	case <-time.After(3 * c.silence / 2): // longer than it may be silent
	}
	was := l.freeze()
	next(t, "detached", h.detached)
	next(t, "attached again", h.attached)
	if is := l.connections(); is <= was {
		t.Errorf("%d connections before, %d after", was, is)
	}
}
