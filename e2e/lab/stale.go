package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runName is how a run calls its folder, and its namespaces after that:
// the pid of the process that made them, then something unique.
const runName = "p2pd-lab-%d-"

var runPattern = regexp.MustCompile(`^p2pd-lab-(\d+)-`)

// removeStale ends and removes what runs left behind whose process is dead: a
// kill -9, or a test that hit its time limit, cleans up nothing itself. Of labs
// that open at once one does it, and the others wait.
func removeStale(ctx context.Context, base string) error {
	unlock, err := lockFolder(ctx, base)
	if err != nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, name := range leftOvers(netnsDir) {
		errs = append(errs, killNamespace(ctx, name))
		if _, err := run(ctx, "ip", "netns", "del", name); err != nil {
			errs = append(errs, err)
		}
	}
	for _, name := range leftOvers(base) {
		errs = append(errs, removeTree(filepath.Join(base, name)))
	}
	return errors.Join(errs...)
}

// lockFolder waits until no other process, and nobody else in this one, has
// the folder's lock, which ends with the process at the latest.
func lockFolder(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the labs' folder: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock the labs' folder %s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for the lock of the labs' folder %s: %w", dir, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// leftOvers are the entries of a folder that a dead run of ours made, as the
// same user: what root left, only root can remove.
func leftOvers(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // no such folder: nothing left over
	}
	var found []string
	for _, e := range entries {
		m := runPattern.FindStringSubmatch(e.Name())
		info, err := e.Info()
		if m == nil || err != nil {
			continue // not ours, or gone already
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
			continue
		}
		if _, err := os.Stat("/proc/" + m[1]); errors.Is(err, os.ErrNotExist) {
			found = append(found, e.Name())
		}
	}
	return found
}

// killNamespace ends every process whose network is the namespace, each by its
// pid, and waits until they are gone.
func killNamespace(ctx context.Context, name string) error {
	for range 50 {
		out, err := run(ctx, "ip", "netns", "pids", name)
		if err != nil {
			return err
		}
		pids := strings.Fields(out)
		if len(pids) == 0 {
			return nil
		}
		for _, field := range pids {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				_ = syscall.Kill(pid, syscall.SIGKILL) // gone already is as good
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("processes in network namespace %s don't end", name)
}

// removeTree unmounts what is mounted below dir (containers' file systems, if
// a container was killed with its runtime) and removes it.
func removeTree(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- { // the last mounted first
		if f := strings.Fields(lines[i]); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			if err := unix.Unmount(f[1], unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", f[1], err)
			}
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove work folder: %w", err)
	}
	return nil
}
