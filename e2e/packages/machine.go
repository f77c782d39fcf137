// Package packages installs p2pd's deb and rpm packages on machines that it
// makes on the spot: a Debian with systemd as process 1 and a containerd, in
// namespaces of its own, with no way out.
package packages

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// suite is the Debian of the machines.
	suite = "bookworm"
	// include is what is installed there beside the least: what a node has.
	include = "systemd,systemd-sysv,dbus,ca-certificates,containerd,runc"
	// bootTimeout is ten times what a boot needs on an idle machine.
	bootTimeout = 90 * time.Second
	haltTimeout = 30 * time.Second
	// Address is the machine's, in a network that nobody else is in.
	Address = "192.0.2.7"
)

// Root makes a Debian's file tree in dir, out of one that is installed once for
// all runs into the folder for caches.
func Root(ctx context.Context, dir string) error {
	base, err := base(ctx)
	if err != nil {
		return err
	}
	_, err = run(ctx, "cp", "-a", "--reflink=auto", base+"/.", dir)
	return err
}

func base(ctx context.Context) (string, error) {
	cache := os.Getenv("P2PD_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache", "p2pd")
	}
	dir := filepath.Join(cache, "machine-"+suite)
	if text, err := os.ReadFile(filepath.Join(dir, ".include")); err == nil && string(text) == include {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	// Made beside its place and renamed, so that nothing half made is used.
	tmp, err := os.MkdirTemp(cache, "machine-build-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	args := []string{"--variant=minbase", "--include=" + include, suite, tmp}
	if from := mirror(ctx); from != "" {
		args = append(args, from)
	}
	if _, err := run(ctx, "debootstrap", args...); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(tmp, ".include"), []byte(include), 0o600); err != nil {
		return "", err
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

// mirror is where this machine's own apt finds the suite; "": debootstrap knows.
func mirror(ctx context.Context) string {
	text, err := run(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Codename: "+suite)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// Machine is a Debian that has booted.
type Machine struct {
	Root string

	cmd  *exec.Cmd
	done chan struct{} // closed once nspawn has ended
	init int           // process 1, as we see it
}

// Boot starts the machine that was laid into root. It ends with this process at
// the latest.
func Boot(ctx context.Context, root string) (*Machine, error) {
	m := &Machine{Root: root, done: make(chan struct{})}
	m.cmd = exec.Command("systemd-nspawn", "--quiet", "--directory="+root, fmt.Sprint("--machine=p2pd-", os.Getpid()),
		"--register=no", "--keep-unit", "--private-network", "--console=pipe", "--boot")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	log, err := os.Create(root + ".console")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(m.done)
		_ = m.cmd.Wait() // the console says why it ended
	}()
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := m.wait(ctx); err != nil {
		text, _ := os.ReadFile(root + ".console")
		return nil, errors.Join(fmt.Errorf("boot: %w\n%s", err, text), m.Halt())
	}
	if err := m.network(ctx); err != nil {
		return nil, errors.Join(err, m.Halt())
	}
	return m, nil
}

// wait returns once systemd has started what it starts at boot.
func (m *Machine) wait(ctx context.Context) error {
	for {
		// The first child is nspawn's own for a moment, and then process 1.
		if m.init = child(m.cmd.Process.Pid); m.init != 0 {
			if state, _ := m.Run(ctx, "systemctl is-system-running"); strings.HasPrefix(state, "running") || strings.HasPrefix(state, "degraded") {
				return nil
			}
		}
		select {
		case <-m.done:
			return errors.New("systemd-nspawn has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// child is the first child of a process; 0: it has none yet.
func child(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	id, err := strconv.Atoi(first)
	if err != nil {
		return 0
	}
	return id
}

// network gives the machine an address, on a line that leads nowhere.
func (m *Machine) network(ctx context.Context) error {
	for _, args := range []string{"link add eth0 type veth peer name nowhere", "addr add " + Address + "/24 dev eth0", "link set eth0 up", "link set nowhere up"} {
		enter := append([]string{"--target", strconv.Itoa(m.init), "--net", "ip"}, strings.Fields(args)...)
		if _, err := run(ctx, "nsenter", enter...); err != nil {
			return err
		}
	}
	return nil
}

// Run runs a script of the shell on the machine, as root, and returns what it
// wrote to its standard output. It ends at the first command that fails.
func (m *Machine) Run(ctx context.Context, script string) (string, error) {
	return run(ctx, "nsenter", "--target", strconv.Itoa(m.init), "--all", "--wdns=/root", "--",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "sh", "-euc", script)
}

// Halt ends the machine.
func (m *Machine) Halt() error {
	ctx, cancel := context.WithTimeout(context.Background(), haltTimeout)
	defer cancel()
	if m.init != 0 {
		_, _ = m.Run(ctx, "systemctl poweroff") // it may cut itself off
	}
	select {
	case <-m.done: // whatever it ended with, it is over
		return nil
	case <-ctx.Done():
	}
	if m.init != 0 {
		_ = syscall.Kill(m.init, syscall.SIGKILL)
	}
	err := m.cmd.Process.Kill()
	<-m.done
	return errors.Join(errors.New("the machine did not halt by itself"), err)
}

// Journal is how the machine's log ends.
func (m *Machine) Journal(ctx context.Context) string {
	text, err := m.Run(ctx, "journalctl --no-pager -n 60 -u p2pd -u p2pd-scheduler")
	if err != nil {
		return err.Error()
	}
	return text
}

func run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err, tail(string(out)), tail(errOut.String()))
	}
	return string(out), nil
}

// tail is the last lines of a text.
func tail(text string) string {
	const lines = 40
	var all []string
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		all = append(all, s.Text())
	}
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
