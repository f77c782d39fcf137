package transport

import (
	"crypto/tls"
	"net"
	"syscall"
)

// rawOf is the kernel's connection below conn; nil if there is none.
func rawOf(conn net.Conn) syscall.RawConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
