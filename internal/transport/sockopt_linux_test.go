package transport

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What an upload has written it has nearly sent, so that its slot is free no
// sooner: on connections with TLS and without.
func TestUploadsDoNotEndInTheKernel(t *testing.T) {
	for name, open := range map[string]bool{"TLS": false, "clear": true} {
		t.Run(name, func(t *testing.T) {
			cfg, childConfig := loopback(t), loopback(t)
			cfg.ClearBulk, childConfig.ClearBulk = open, open
			tr, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			seen := &watched{Listener: tr.bulk, conns: make(chan net.Conn, 1)}
			tr.bulk = seen
			parent, child := run(t, tr, cfg), launch(t, childConfig)
			unsent := make(chan int, 1)
			parent.upload = func(context.Context, scheduler.PeerID, piece.Digest, int64, int64) (*peer.Upload, error) {
				unsent <- unsentOf(t, <-seen.conns)
				return peer.NewUpload(strings.NewReader("x"), func() {}), nil
			}
			body, err := child.Fetch(t.Context(), parent.Self(), piece.Digest{1}, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if _, err := io.Copy(io.Discard, body); err != nil {
				t.Fatal(err)
			}
			if got := <-unsent; got != unsentMost {
				t.Errorf("%d bytes may lie in the kernel unsent, want %d", got, unsentMost)
			}
		})
	}
}

// watched tells of what it accepts.
type watched struct {
	net.Listener
	conns chan net.Conn
}

func (w *watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err == nil {
		select {
		case w.conns <- c:
		default: // one is enough to look at
		}
	}
	return c, err
}

// unsentOf is how much may lie unsent in a connection of the kernel's.
func unsentOf(t *testing.T, c net.Conn) (most int) {
	t.Helper()
	raw := rawOf(c)
	if raw == nil {
		t.Errorf("%T is not the kernel's", c)
		return 0
	}
	err := raw.Control(func(fd uintptr) {
		var err error
		if most, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
	return most
}
