package rpc

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acknowledgedWithin is a net.Dialer's Control: what is sent must be acknowledged within
// that time, or the connection is dead.
func acknowledgedWithin(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		})
		return errors.Join(err, failed)
	}
}
