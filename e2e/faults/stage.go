package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	nodeRate   = lab.Rate(200e6)
	originRate = lab.Rate(400e6)
	slowRate   = nodeRate / 50
	trickle    = lab.Rate(2e6)
	// diskSize is of the file system that each node's store is on. It holds a
	// few images, so that stores are full for most of a run.
	diskSize = lab.Size(160 << 20)
	// lossy is how many of a hundred packets are lost.
	lossy = 3
	// lateRate and lateQueue are of a line whose queues are deep: when it is full, each
	// packet waits that long.
	lateRate  = nodeRate / 5
	lateQueue = 400 * time.Millisecond
	// schedulers share the swarms of the suite's cluster.
	schedulers = 3
	// refill is how often what fills a disk looks whether there is room again.
	refill = 20 * time.Millisecond
)

// stage is a cluster that faults befall.
type stage struct {
	*lab.Lab
	proxy *lab.FaultProxy
	door  *doorman
	rec   *recorder

	nodeClocks, schedulerClocks []lab.Clock

	mu         sync.Mutex // guards what follows
	schedulers []*lab.Daemon
	nodes      []*lab.Daemon
	liars      map[int]time.Time // when they last began to lie, or to read falsely
}

// newStage starts a registry, some schedulers and a p2pd on each node, each with its
// store on a small disk and a wall clock of its own.
func newStage(ctx context.Context, l *lab.Lab, schedulers int, rec *recorder) (*stage, error) {
	s := &stage{Lab: l, rec: rec, schedulers: make([]*lab.Daemon, schedulers), nodes: make([]*lab.Daemon, l.Nodes), liars: make(map[int]time.Time)}
	var err error
	if err := s.makeClocks(); err != nil {
		return nil, err
	}
	if s.door, err = startDoorman(ctx, l); err != nil {
		return nil, err
	}
	if s.proxy, err = l.StartFaultProxy(ctx); err != nil {
		return nil, err
	}
	for i := range l.Net.Nodes {
		if err := s.mount(ctx, i); err != nil {
			return nil, err
		}
	}
	for i := range s.schedulers {
		if err := s.startScheduler(ctx, i); err != nil {
			return nil, err
		}
	}
	for i := range s.nodes {
		if err := s.startNode(ctx, i); err != nil {
			return nil, err
		}
	}
	return s, s.wellAgain(ctx)
}

func (s *stage) store(i int) string { return filepath.Join(s.Dir, s.Net.Nodes[i].Name, "store") }

// mount gives node i's store a disk of its own.
func (s *stage) mount(ctx context.Context, i int) error {
	dir := s.store(i)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a disk: %w", err)
	}
	if err := command(ctx, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0700", diskSize), "tmpfs", dir); err != nil {
		return err
	}
	s.OnClose(func(ctx context.Context) error { return command(ctx, "umount", "-l", dir) })
	return nil
}

// startNode starts p2pd on a node, or starts it again.
func (s *stage) startNode(ctx context.Context, i int, env ...string) error {
	d, err := s.StartNode(ctx, i, append([]string{
		"P2PD_SCHEDULER=" + s.doors(), s.nodeClocks[i].Env(), "P2PD_FAULT_STORE_EIO=" + s.brokenDisk(i), "P2PD_FAULT_MISREAD=" + s.misreads(i),
		"P2PD_DISCOVERY_BOOTSTRAP=" + s.PeerAddress((i+1)%s.Nodes), "P2PD_MIRROR_DRAIN=3s", "P2PD_ACCESS_MODES=" + lab.RegistryHost + "=basic", "P2PD_STORE_CAPACITY=" + fmt.Sprint(int64(diskSize)), "P2PD_STORE_KEEP_FREE=8MiB",
	}, env...)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.Process != nil {
		s.nodes[i] = d
	}
	return err
}

func (s *stage) node(i int) *lab.Daemon {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[i]
}

// wellAgain waits until every node serves and has all schedulers, but for those that
// have lied: schedulers let them in no more for some minutes.
func (s *stage) wellAgain(ctx context.Context) error {
	s.mu.Lock()
	swarm, ended := lab.Swarm{Scheduler: s.schedulers[0]}, []*lab.Daemon(nil)
	for i, d := range s.nodes {
		if d.Ended() {
			ended = append(ended, d)
		}
		if at, lied := s.liars[i]; !lied || time.Since(at) >= shunned {
			swarm.Nodes = append(swarm.Nodes, d)
		}
	}
	s.mu.Unlock()
	for _, d := range ended {
		return fmt.Errorf("%s has ended by itself; its log ends:\n%s", d.Name, d.LogTail())
	}
	return errors.Join(swarm.WaitConnected(ctx), swarm.WaitSchedulers(ctx, len(s.schedulers)))
}

// storm lets the faults of one round happen, and returns when the last is over.
func (s *stage) storm(ctx context.Context, steps []Step) error {
	var g errgroup.Group
	begin := time.Now()
	for _, step := range steps {
		g.Go(func() error {
			if !sleep(ctx, time.Until(begin.Add(step.At))) {
				return ctx.Err()
			}
			s.befall(ctx, step)
			return ctx.Err()
		})
	}
	return g.Wait()
}

// befall makes one fault happen, lets it last, and ends it.
func (s *stage) befall(ctx context.Context, step Step) {
	f := Fault{Kind: step.Kind, Start: time.Now()}
	if step.Node >= 0 {
		f.Nodes = []int{step.Node}
	}
	end, err := s.begin(ctx, step)
	if err == nil {
		sleep(ctx, step.For)
	}
	// What was begun is ended, even when the run ends.
	over, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if end != nil {
		err = errors.Join(err, end(over))
	}
	f.End = time.Now()
	if err != nil {
		f.Err = err.Error()
	}
	s.rec.add(f)
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// sleep waits; it reports false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(max(0, d)):
		return true
	}
}
