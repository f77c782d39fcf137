//go:build p2pd_faults

package store

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
)

// failpoints are where tests kill the process. P2PD_FAULT_STORE_KILL=POINT:N
// kills it with SIGKILL when it comes to a point for the Nth time. What happens
// is written to the file that P2PD_FAULT_STORE_LOG names: a line "at POINT" for
// each point, "sync FILE" for each file that was synced. While there is a file of the
// name that P2PD_FAULT_STORE_EIO has, the disk fails: reads, writes, syncs and renames of
// blobs return EIO, but for what the kernel sends from a file by itself.
type failpoints struct {
	point string
	eio   string
	left  *atomic.Int64
	log   *os.File
}

func newFailpoints() failpoints {
	f := failpoints{left: new(atomic.Int64), eio: os.Getenv("P2PD_FAULT_STORE_EIO")}
	kill := os.Getenv("P2PD_FAULT_STORE_KILL")
	if at := strings.LastIndex(kill, ":"); at >= 0 {
		var times int64
		if _, err := fmt.Sscan(kill[at+1:], &times); err != nil {
			panic(err) // a test that kills nothing must not pass
		}
		f.point = kill[:at]
		f.left.Store(times)
	}
	if name := os.Getenv("P2PD_FAULT_STORE_LOG"); name != "" {
		log, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, fileMode)
		if err != nil {
			panic(err) // a test that cannot say what happened must not go on
		}
		f.log = log
	}
	return f
}

// at is reached at a point.
func (f failpoints) at(point string) {
	f.say("at", point)
	if point == f.point && f.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal needs a moment
	}
}

// disk is what the disk says instead of doing as it is told; nil: nothing.
func (f failpoints) disk() error {
	if f.eio == "" {
		return nil
	}
	if _, err := os.Lstat(f.eio); err != nil {
		return nil //nolint:nilerr // the disk works
	}
	return syscall.EIO
}

// synced is told of a file that is on the disk from now on.
func (f failpoints) synced(file string) { f.say("sync", file) }

func (f failpoints) say(what, of string) {
	if f.log != nil {
		if _, err := fmt.Fprintf(f.log, "%s %s\n", what, of); err != nil {
			panic(err)
		}
	}
}
