package packages

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// CleanInclude is what a newcomer's machine has beside the least, and Go.
const CleanInclude = "ca-certificates,git,make"

// Clean is a Debian that somebody has just installed: no systemd, no containerd,
// no compiler; but for git, make, and this machine's own Go.
type Clean struct{ root string }

// NewClean installs one into dir. It reaches what this machine reaches.
func NewClean(ctx context.Context, dir string) (*Clean, error) {
	args := []string{"--variant=minbase", "--include=" + CleanInclude, suite, dir}
	if from := mirror(ctx); from != "" {
		args = append(args, from)
	}
	if _, err := run(ctx, "debootstrap", args...); err != nil {
		return nil, err
	}
	goroot, err := run(ctx, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	for from, to := range map[string]string{
		strings.TrimSpace(goroot): "/usr/local/go",
		"/etc/resolv.conf":        "/etc/resolv.conf",
		"/etc/hosts":              "/etc/hosts",
		"/etc/ssl/certs":          "/etc/ssl/certs",
		"/etc/apt/apt.conf.d/":    "/etc/apt/apt.conf.d",
	} {
		to = filepath.Join(dir, to)
		if err := os.RemoveAll(to); err != nil { // links in it lead out
			return nil, err
		}
		if _, err := run(ctx, "cp", "-aLT", from, to); err != nil {
			return nil, err
		}
	}
	return &Clean{dir}, nil
}

// Path is where a file of the machine's is seen from outside.
func (c *Clean) Path(name string) string { return filepath.Join(c.root, name) }

// Run runs a script there as root, in namespaces of its own but for the network's.
// All that it has started ends with it, and with ctx: unshare does not hear SIGTERM while
// it waits, so it is killed. What it says goes to out.
func (c *Clean) Run(ctx context.Context, script string, out *os.File) error {
	// The root must be a mount point to be one for programs that make namespaces.
	const enter = `mount --bind "$1" "$1"; cd "$1"; mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount --rbind /sys "$1/sys"
mount -t tmpfs run "$1/run"; mount -t tmpfs tmp "$1/tmp"; exec chroot "$1" /bin/bash -euc "$2"`
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", enter, "sh", c.root, script)
	cmd.Env = []string{"PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	for _, pair := range os.Environ() { // how this machine reaches the world
		name, _, _ := strings.Cut(pair, "=")
		if upper := strings.ToUpper(name); strings.HasPrefix(name, "GOPROXY") || strings.HasPrefix(name, "GOSUMDB") || strings.HasPrefix(name, "GONOSUM") || strings.HasSuffix(upper, "_PROXY") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", script, err)
	}
	return nil
}
