package rpc

import (
	"net"
	"sync/atomic"
	"time"
)

// listener closes the connections from which nothing has come for a while.
type listener struct {
	net.Listener
	silence time.Duration
}

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &attentive{Conn: c, silence: l.silence}, nil
}

// attentive is a connection that fails once nothing has come for silence, unless somebody
// has set another deadline.
type attentive struct {
	net.Conn
	silence time.Duration
	bounded atomic.Bool // another deadline holds
}

// Read implements net.Conn.
func (c *attentive) Read(p []byte) (int, error) {
	if !c.bounded.Load() {
		// Not by the time of day: time.Now has a monotonic reading, by which it goes.
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

// SetDeadline implements net.Conn.
func (c *attentive) SetDeadline(t time.Time) error {
	c.bounded.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *attentive) SetReadDeadline(t time.Time) error {
	c.bounded.Store(!t.IsZero())
	return c.Conn.SetReadDeadline(t)
}
