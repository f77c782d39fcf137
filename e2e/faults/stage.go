package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
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
	// refill is how often what fills a disk looks whether there is room again.
	refill = 20 * time.Millisecond
)

// stage is a cluster that faults befall.
type stage struct {
	*lab.Lab
	proxy *lab.FaultProxy
	door  *doorman
	rec   *recorder

	mu        sync.Mutex // guards what follows
	scheduler *lab.Daemon
	nodes     []*lab.Daemon
	liars     map[int]time.Time // when they were last started as such
}

// newStage starts a registry, a scheduler and a p2pd on each node, each with its
// store on a small disk of its own.
func newStage(ctx context.Context, l *lab.Lab, rec *recorder) (*stage, error) {
	s := &stage{Lab: l, rec: rec, nodes: make([]*lab.Daemon, l.Nodes), liars: make(map[int]time.Time)}
	var err error
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
	if s.scheduler, err = l.StartScheduler(ctx); err != nil {
		return nil, err
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

func (s *stage) theScheduler() *lab.Daemon {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scheduler
}

func (s *stage) startScheduler(ctx context.Context) error {
	d, err := s.StartScheduler(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduler = d
	return err
}

// wellAgain waits until every node serves and has its scheduler.
func (s *stage) wellAgain(ctx context.Context) error {
	s.mu.Lock()
	swarm := lab.Swarm{Scheduler: s.scheduler, Nodes: append([]*lab.Daemon(nil), s.nodes...)}
	s.mu.Unlock()
	for _, d := range swarm.Nodes {
		if d.Ended() {
			return fmt.Errorf("%s has ended by itself; its log ends:\n%s", d.Name, d.LogTail())
		}
	}
	return swarm.WaitConnected(ctx)
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

// ending ends a fault.
type ending func(context.Context) error

// begin makes a fault happen.
func (s *stage) begin(ctx context.Context, step Step) (ending, error) {
	i := step.Node
	switch step.Kind {
	case NodeKill, NodeRot:
		s.node(i).Kill()
		return func(ctx context.Context) error { return s.startNode(ctx, i) }, s.rot(step)
	case NodeRestart:
		err := s.node(i).Stop()
		return nil, errors.Join(err, s.startNode(ctx, i))
	case NodeCorrupt:
		s.node(i).Kill()
		s.mu.Lock()
		s.liars[i] = time.Now()
		s.mu.Unlock()
		return func(ctx context.Context) error {
			s.node(i).Kill()
			return s.startNode(ctx, i)
		}, s.startNode(ctx, i, "P2PD_FAULT_CORRUPT_UPLOADS=1")
	case NodeFreeze:
		return freeze(s.node(i).PID())
	case NodeFull:
		return s.fill(i)
	case NodeCut:
		return s.cut(ctx, s.Net.Nodes[i])
	case NodeDrop:
		return s.part(ctx, i, "blackhole", false)
	case NodeReject:
		return s.part(ctx, i, "unreachable", true)
	case NodeSlow:
		return s.slow(ctx, s.Net.Nodes[i])
	case SchedulerKill:
		s.theScheduler().Kill()
		return s.startScheduler, nil
	case SchedulerStop:
		return freeze(s.theScheduler().PID())
	case SchedulerCut:
		return s.cut(ctx, s.Net.Scheduler)
	case OriginGone:
		return s.cut(ctx, s.Net.Origin)
	}
	return s.spoil(step)
}

// spoil has the origin answer falsely.
func (s *stage) spoil(step Step) (ending, error) {
	faults := map[Kind]lab.Fault{
		OriginErrors:   {Status: 500, Manifests: true},
		OriginBusy:     {Status: 429, RetryAfter: 2 * time.Second, Manifests: true},
		OriginSlow:     {Rate: trickle},
		OriginCutsBody: {CutAfter: 1 + int64(step.Seed%(3<<20))},
		OriginStalls:   {StallAfter: 1 + int64(step.Seed%(3<<20))},
		OriginLate:     {Wait: 1500 * time.Millisecond, Manifests: true},
	}
	fault, ok := faults[step.Kind]
	if !ok {
		return nil, fmt.Errorf("no such fault: %s", step.Kind)
	}
	s.proxy.Set(fault)
	return func(context.Context) error { s.proxy.Set(lab.Fault{}); return nil }, nil
}

// rot changes a few bytes of files in the store of a node that does not run.
func (s *stage) rot(step Step) error {
	if step.Kind != NodeRot {
		return nil
	}
	rng := rand.New(rand.NewPCG(step.Seed, 1))
	return filepath.WalkDir(s.store(step.Node), func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !strings.Contains(path, "sha256") || rng.IntN(3) > 0 {
			return err
		}
		info, err := e.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt([]byte("rot"), rng.Int64N(info.Size()))
		if rng.IntN(4) == 0 { // what was not synced may be gone
			err = errors.Join(err, f.Truncate(rng.Int64N(info.Size())))
		}
		return errors.Join(err, f.Close())
	})
}

func freeze(pid int) (ending, error) {
	end := func(context.Context) error { return syscall.Kill(pid, syscall.SIGCONT) }
	return end, syscall.Kill(pid, syscall.SIGSTOP)
}

// fill takes what is left of a node's disk, and all that its store gives up.
func (s *stage) fill(i int) (ending, error) {
	junk := filepath.Join(s.store(i), "junk")
	f, err := os.Create(junk)
	if err != nil {
		return nil, err
	}
	over := make(chan struct{})
	ended := make(chan error, 1)
	go func() { // ends with the fault
		block := make([]byte, 64<<10)
		for {
			_, err := f.Write(block)
			if err == nil {
				continue
			}
			if !errors.Is(err, syscall.ENOSPC) {
				ended <- err
				return
			}
			select {
			case <-over:
				ended <- nil
				return
			case <-time.After(refill):
			}
		}
	}()
	return func(context.Context) error {
		close(over)
		return errors.Join(<-ended, f.Close(), os.Remove(junk))
	}, nil
}

// cut takes a place's link down.
func (s *stage) cut(ctx context.Context, p lab.Place) (ending, error) {
	set := func(ctx context.Context, state string) error {
		return command(ctx, "ip", "-n", s.hub(p), "link", "set", p.Name, state)
	}
	return func(ctx context.Context) error { return set(ctx, "up") }, set(ctx, "down")
}

// hub is the namespace that has the other end of a place's link.
func (s *stage) hub(p lab.Place) string { return strings.TrimSuffix(p.Netns, p.Name) + "hub" }

// part has a route between node i and the other nodes end in the void: at the
// node itself, or at the others.
func (s *stage) part(ctx context.Context, i int, route string, here bool) (ending, error) {
	metric := 10 + 2*i // others' routes between the same nodes are other ones
	if here {
		metric++
	}
	each := func(ctx context.Context, verb string) error {
		var errs []error
		for j, other := range s.Net.Nodes {
			at, to := s.Net.Nodes[i], other
			if !here {
				at, to = to, at
			}
			if i != j {
				errs = append(errs, command(ctx, "ip", "-n", at.Netns, "route", verb, route, to.Addr.String()+"/32", "metric", fmt.Sprint(metric)))
			}
		}
		return errors.Join(errs...)
	}
	return func(ctx context.Context) error { return each(ctx, "del") }, each(ctx, "add")
}

// slow holds a place's link to a fraction of its rate.
func (s *stage) slow(ctx context.Context, p lab.Place) (ending, error) {
	set := func(ctx context.Context, rate lab.Rate) error {
		var errs []error
		for netns, device := range map[string]string{p.Netns: "eth0", s.hub(p): p.Name} {
			errs = append(errs, command(ctx, "tc", "-n", netns, "qdisc", "change", "dev", device, "root", "tbf",
				"rate", fmt.Sprintf("%dbit", int64(rate)), "burst", "128kb", "latency", "50ms"))
		}
		return errors.Join(errs...)
	}
	return func(ctx context.Context) error { return set(ctx, nodeRate) }, set(ctx, slowRate)
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
