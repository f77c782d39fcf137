package daemon

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// peerOf says which user and process is at the other end of a socket of this
// machine; "" if it is another connection.
func peerOf(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ""
	}
	name := ""
	_ = raw.Control(func(fd uintptr) { // without a name it is somebody
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = fmt.Sprintf("uid %d, pid %d", cred.Uid, cred.Pid)
		}
	})
	return name
}
