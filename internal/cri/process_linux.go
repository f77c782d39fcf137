package cri

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticks are those of a second in /proc, on all of Linux's architectures (USER_HZ).
const ticks = 100

// Started is when the process was started that listens at a socket; false where that
// cannot be seen, as from another PID namespace.
func Started(socket string) (at time.Time, known bool, err error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"}) //nolint:forbidigo // a socket of this machine
	if err != nil {
		return at, false, err
	}
	defer c.Close()
	pid, err := listener(c)
	if err != nil || pid == 0 {
		return at, false, err
	}
	after, err := startedAfter(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return at, false, nil
	}
	if err != nil {
		return at, false, err
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return at, false, err
	}
	up, err := strconv.ParseFloat(strings.Fields(string(text) + " x")[0], 64)
	if err != nil {
		return at, false, fmt.Errorf("/proc/uptime: %w", err)
	}
	return time.Now().Add(after - time.Duration(up*float64(time.Second))), true, nil
}

// listener is the process that listens at the other end; 0 if it is in another PID
// namespace.
func listener(c *net.UnixConn) (pid int32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); failed == nil {
			pid = cred.Pid
		}
	})
	return pid, errors.Join(err, failed)
}

// startedAfter is how long after the machine a process was started: field 22 of
// proc_pid_stat(5), counted from behind the name, which may have anything in it.
func startedAfter(pid int32) (time.Duration, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	const behindName = 22 - 3
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) <= behindName {
		return 0, fmt.Errorf("%s has %d fields behind the name", name, len(fields))
	}
	n, err := strconv.ParseInt(fields[behindName], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return time.Duration(n) * (time.Second / ticks), nil
}
