package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"

	"golang.org/x/sys/unix"
)

// Listen listens here. The address must be an IP literal. A socket belongs to
// the network that it was made in, whoever accepts from it; so a server of
// this process can stand at any place.
func (p Place) Listen(ctx context.Context, address string) (net.Listener, error) {
	if p.Netns == "" {
		var c net.ListenConfig
		return c.Listen(ctx, "tcp", address)
	}
	done := make(chan listening, 1)
	go func() { done <- listenFrom(ctx, p.Netns, address) }()
	r := <-done
	return r.listener, r.err
}

type listening struct {
	listener net.Listener
	err      error
}

// listenFrom moves its thread into the namespace and back, as dialFrom does.
func listenFrom(ctx context.Context, netns, address string) listening {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return listening{nil, fmt.Errorf("open own network namespace: %w", err)}
	}
	defer unix.Close(home)
	if err := setns(netns); err != nil {
		runtime.UnlockOSThread()
		return listening{nil, err}
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", address)
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		// Still locked: the thread ends with the goroutine.
		return listening{l, errors.Join(err, fmt.Errorf("leave network namespace: %w", back))}
	}
	runtime.UnlockOSThread()
	return listening{l, err}
}
