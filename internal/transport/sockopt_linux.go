package transport

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// setLowWater sets SO_RCVLOWAT, which poll and epoll observe (socket(7)).
func setLowWater(conn syscall.RawConn, bytes int) error {
	return setOption(conn, unix.SOL_SOCKET, unix.SO_RCVLOWAT, bytes)
}

// setUnsentMost sets TCP_NOTSENT_LOWAT (Linux's ip-sysctl, tcp_notsent_lowat): a
// write waits while more than that lies in the socket without having been sent.
func setUnsentMost(conn syscall.RawConn, bytes int) error {
	return setOption(conn, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
}

func setOption(conn syscall.RawConn, level, option, value int) error {
	var result error
	err := conn.Control(func(fd uintptr) {
		result = unix.SetsockoptInt(int(fd), level, option, value)
	})
	if err != nil {
		return err
	}
	return result
}
