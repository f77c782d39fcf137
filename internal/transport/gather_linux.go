package transport

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// setLowWater sets SO_RCVLOWAT, which poll and epoll observe (socket(7)).
func setLowWater(conn syscall.RawConn, bytes int) error {
	var result error
	err := conn.Control(func(fd uintptr) {
		result = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
	})
	if err != nil {
		return err
	}
	return result
}
