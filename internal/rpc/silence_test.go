package rpc

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// one is a listener to which one connection comes.
type one struct {
	net.Listener
	conn net.Conn
}

func (o one) Accept() (net.Conn, error) { return o.conn, nil }

// A connection ends once nothing has come for so long, however long it has been there;
// and at another deadline while there is one.
func TestSilenceEndsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const silence = 15 * time.Second
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		c, err := listener{one{conn: near}, silence}.Accept()
		if err != nil {
			t.Fatal(err)
		}
		failsAfter := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			_, err := c.Read(make([]byte, 1))
			if took := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || took != want {
				t.Errorf("after %v: %v; want a timeout after %v", took, err, want)
			}
		}
		go func() {
			for range 5 {
				time.Sleep(10 * time.Second)
				if _, err := far.Write([]byte{1}); err != nil {
					t.Error(err)
				}
			}
		}()
		for range 5 {
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Fatalf("something comes every 10 s, and yet: %v", err)
			}
		}
		failsAfter(silence)
		for _, bound := range []func(time.Time) error{c.SetDeadline, c.SetReadDeadline} {
			if err := bound(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			failsAfter(time.Second)
			if err := bound(time.Time{}); err != nil {
				t.Fatal(err)
			}
			failsAfter(silence)
		}
	})
}
