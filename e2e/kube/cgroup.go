package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroupName is that of a node's cgroup below the root.
func (c *Cluster) cgroupName(node string) string { return filepath.Base(c.Lab.Dir) + "-" + node }

// cgroups are the folders of a node's cgroup: one, or with version 1 one for each
// controller.
func (c *Cluster) cgroups(node string) []string {
	name := c.cgroupName(node)
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{filepath.Join(cgroupRoot, name)}
	}
	var all []string
	for _, controller := range []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "hugetlb", "perf_event", "unified"} {
		if _, err := os.Stat(filepath.Join(cgroupRoot, controller)); err == nil {
			all = append(all, filepath.Join(cgroupRoot, controller, name))
		}
	}
	return all
}

// cgroup makes a node's cgroup, which kubelets on one machine must not share,
// and removes it with the lab.
func (c *Cluster) cgroup(node string) (string, error) {
	for _, dir := range c.cgroups(node) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		c.Lab.OnClose(func(ctx context.Context) error { return removeCgroup(ctx, dir) })
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} { // version 1 does not inherit them
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file)); err == nil && len(strings.TrimSpace(string(b))) > 0 {
				if err := os.WriteFile(filepath.Join(dir, file), b, 0o644); err != nil {
					return "", err
				}
			}
		}
	}
	return "/" + c.cgroupName(node), nil
}

// removeCgroup ends what still runs in a node's pods, whose runtime is gone, and
// removes the cgroup with all below it.
func removeCgroup(ctx context.Context, dir string) error {
	for {
		var below []string
		_ = filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
			switch {
			case err != nil:
				return filepath.SkipDir // it has just gone
			case d.IsDir():
				below = append(below, name)
			}
			return nil
		})
		for _, name := range slices.Backward(below) {
			b, _ := os.ReadFile(filepath.Join(name, "cgroup.procs"))
			for _, field := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			_ = os.Remove(name) // busy until they are gone
		}
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("cgroup %s stays: %w", dir, ctx.Err())
		}
	}
}
