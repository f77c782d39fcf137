package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// closeTimeout bounds the whole of Close.
const closeTimeout = 2 * time.Minute

// Config says what lab to open.
type Config struct {
	Shape
	// Rootless uses loopback addresses instead of network namespaces; the
	// daemons hold the rates themselves.
	Rootless bool
	// Open is an open cluster: anybody is a member, and pieces travel in the
	// clear.
	Open bool
	// Programs are what to run; see Build.
	Programs Programs
}

// Lab is one cluster with its origin. Everything it makes goes away in Close.
type Lab struct {
	Config
	Dir      string // work folder of this run
	Net      *Network
	Registry *Registry

	cluster cluster
	closers []func(context.Context) error // run last to first
}

// Open removes what dead runs left behind, makes the network and starts the
// origin registry. Daemons and runtimes come by StartScheduler, StartNode and
// StartContainerd. The caller must Close the lab, whatever happens.
func Open(ctx context.Context, cfg Config) (_ *Lab, err error) {
	if cfg.Nodes < 1 || cfg.Nodes > maxNodes {
		return nil, fmt.Errorf("a lab of %d nodes: 1 to %d are possible", cfg.Nodes, maxNodes)
	}
	base := BaseDir()
	if err := removeStale(ctx, base); err != nil {
		return nil, fmt.Errorf("clean up after an earlier run: %w", err)
	}
	l := &Lab{Config: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if l.Dir, err = os.MkdirTemp(base, fmt.Sprintf(runName+"*", os.Getpid())); err != nil {
		return nil, fmt.Errorf("make work folder: %w", err)
	}
	l.OnClose(func(context.Context) error { return removeTree(l.Dir) })
	if cfg.Rootless {
		l.Net, err = newLoopback(cfg.Shape)
	} else {
		l.Net, err = newNamespaces(ctx, filepath.Base(l.Dir), cfg.Shape)
	}
	if err != nil {
		return nil, err
	}
	l.OnClose(l.Net.Close)
	if l.cluster, err = l.newCluster(); err != nil {
		return nil, err
	}
	if l.Registry, err = l.startRegistry(ctx); err != nil {
		return nil, err
	}
	return l, nil
}

// BaseDir is where work folders are made: $P2PD_E2E_DIR, or the system's
// folder for temporary files. containerd needs one that overlayfs works on.
func BaseDir() string {
	if dir := os.Getenv("P2PD_E2E_DIR"); dir != "" {
		return dir
	}
	return os.TempDir()
}

// OnClose runs f when the lab closes, before all that were given earlier.
func (l *Lab) OnClose(f func(context.Context) error) { l.closers = append(l.closers, f) }

// Close ends every process and removes everything. A second Close does
// nothing.
func (l *Lab) Close() error {
	// Cleaning up must not end with whatever ended the run.
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	for len(l.closers) > 0 {
		last := len(l.closers) - 1
		f := l.closers[last]
		l.closers = l.closers[:last]
		errs = append(errs, f(ctx))
	}
	return errors.Join(errs...)
}

// mkdir makes a folder below the work folder.
func (l *Lab) mkdir(name string) (string, error) {
	dir := filepath.Join(l.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	return dir, nil
}
