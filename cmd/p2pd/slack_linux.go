package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is how much later than asked for a thread's sleep may end. Nothing
// here is told apart by a millisecond; the kernel's own 50 microseconds let the Go
// runtime's monitor of a process that is neither busy nor idle wake 750 times a
// second, which took a tenth of the CPU time of a node that pulls on a line of
// 100 Mbit/s (docs/adr/0019).
const timerSlack = 1_000_000 // nanoseconds

// relaxed marks the environment of the second start: there is no third, whatever
// the kernel, or what stands in for one, made of the slack.
const relaxed = "_P2PD_RELAXED"

// relax gives all threads of this process that slack. It is inherited from thread
// to thread and kept by exec, and the runtime has started threads before main: so
// the program starts itself once more, with the same pid, arguments and files.
// Whoever set a slack before (TimerSlackNSec= of systemd) is heeded. Where it cannot
// be done nothing is lost but that CPU time.
func relax() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Getenv(relaxed) != "" {
		return
	}
	const kernelDefault = 50_000
	now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || now != kernelDefault {
		return
	}
	self, err := os.Executable()
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) != nil {
		return
	}
	_ = syscall.Exec(self, os.Args, append(os.Environ(), relaxed+"=1")) //nolint:gosec // the program itself; if it fails, it goes on as it is
}
