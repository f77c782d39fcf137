package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// netnsDir is where ip(8) keeps namespaces.
const netnsDir = "/run/netns"

// Place is where programs run: an address, and the network that has it.
type Place struct {
	Name  string // short and unique in its lab: "n1", "origin"
	Netns string // name of the network namespace; empty: the machine's own network
	Addr  netip.Addr
}

// At is HOST:PORT here.
func (p Place) At(port int) string { return net.JoinHostPort(p.Addr.String(), strconv.Itoa(port)) }

// Command is exec.CommandContext here. The program becomes a direct child, so
// its pid is the command's. (Not ip netns exec: that hides /sys/fs/cgroup, and
// containers can't start.)
func (p Place) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if p.Netns == "" {
		return exec.CommandContext(ctx, name, args...)
	}
	enter := []string{"--net=" + filepath.Join(netnsDir, p.Netns), "--", name}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// Dial connects from here. The address must be an IP literal.
func (p Place) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if p.Netns == "" {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
	// In a goroutine of its own, so that an error on the way back costs no more
	// than its thread.
	done := make(chan dialled, 1)
	go func() { done <- dialFrom(ctx, p.Netns, network, address) }()
	r := <-done
	return r.conn, r.err
}

type dialled struct {
	conn net.Conn
	err  error
}

// dialFrom moves its thread into the namespace and back again. The thread must
// live on: processes that it started die with it (Pdeathsig is by thread).
func dialFrom(ctx context.Context, netns, network, address string) dialled {
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return dialled{nil, fmt.Errorf("open own network namespace: %w", err)}
	}
	defer unix.Close(home)
	if err := setns(netns); err != nil {
		runtime.UnlockOSThread()
		return dialled{nil, err}
	}
	// With an IP literal the socket is made on this very thread.
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if back := unix.Setns(home, unix.CLONE_NEWNET); back != nil {
		// Still locked: the thread ends with the goroutine, and runs no other
		// in the wrong network.
		return dialled{conn, errors.Join(err, fmt.Errorf("leave network namespace: %w", back))}
	}
	runtime.UnlockOSThread()
	return dialled{conn, err}
}

// HTTPClient is a client whose connections start here. It keeps none open.
func (p Place) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: p.Dial, DisableKeepAlives: true}}
}

func setns(name string) error {
	fd, err := unix.Open(filepath.Join(netnsDir, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", name, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	return nil
}
