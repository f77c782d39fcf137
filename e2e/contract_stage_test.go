package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/p2pd/p2pd/e2e/lab"
)

// stage is what all cases of one containerd share: an origin behind a proxy that
// spoils what it is told to, a scheduler, and p2pd on two nodes. The first one
// has the containerd that pulls.
type stage struct {
	*lab.Lab
	proxy     *lab.FaultProxy
	scheduler *lab.Daemon
	nodes     []*lab.Daemon
	// odd are the nodes whose p2pd is not as others are.
	odd map[int]bool
	// full is the mount that stands for a full disk; empty: none.
	full string
	// lying are programs that can send false bytes.
	lying lab.Programs

	cri   *lab.CRI
	image lab.Image // of the case
	seed  uint64
}

// stageRate is slow enough that a pull can be caught half-way, and no limit to
// what small images need.
const stageRate = lab.Rate(400e6)

func openStage(ctx context.Context, t *testing.T, mode lab.PullMode) *stage {
	t.Helper()
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: 2, NodeRate: stageRate, OriginRate: stageRate}, Programs: programs(t)})
	if err != nil {
		t.Fatalf("open lab: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	s := &stage{Lab: l, nodes: make([]*lab.Daemon, 2), odd: make(map[int]bool), lying: programs(t, "p2pd_faults")}
	if s.proxy, err = l.StartFaultProxy(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.repair(ctx); err != nil {
		t.Fatal(err)
	}
	if s.cri, err = s.StartCRI(ctx, 0, mode); err != nil {
		t.Fatal(err)
	}
	return s
}

// push makes an image that nobody has seen the image of the case.
func (s *stage) push(ctx context.Context, t *testing.T) {
	t.Helper()
	s.seed++
	var err error
	s.image, err = s.Registry.Push(ctx, lab.ImageSpec{
		Repository: "lab/contract", Tag: fmt.Sprintf("v%d", s.seed), Size: contractSize, Layers: contractLayers, Synthetic: true, Seed: s.seed,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// repair makes everything as it is without a fault.
func (s *stage) repair(ctx context.Context) (err error) {
	s.proxy.Set(lab.Fault{})
	if s.image.Tag != "" {
		if err := s.cri.Remove(ctx, s.image); err != nil {
			return err
		}
	}
	if s.scheduler == nil || s.scheduler.Ended() {
		if s.scheduler, err = s.StartScheduler(ctx); err != nil {
			return err
		}
	}
	for i, d := range s.nodes {
		if s.odd[i] {
			if err := s.stop(i); err != nil {
				return err
			}
		}
		if d == nil || d.Ended() {
			if s.nodes[i], err = s.StartNode(ctx, i); err != nil {
				return err
			}
		}
	}
	return s.connected(ctx)
}

func (s *stage) connected(ctx context.Context) error {
	return (&lab.Swarm{Scheduler: s.scheduler, Nodes: s.nodes}).WaitConnected(ctx)
}

// stop ends node i's p2pd and what was odd about it.
func (s *stage) stop(i int) error {
	err := s.nodes[i].Stop()
	delete(s.odd, i)
	if i == 0 && s.full != "" {
		err = errors.Join(err, unix.Unmount(s.full, 0))
		s.full = ""
	}
	return err
}

// restart starts node i's p2pd anew, with an odd environment or program.
func (s *stage) restart(ctx context.Context, i int, p lab.Programs, env ...string) (err error) {
	if err := s.nodes[i].Stop(); err != nil {
		return err
	}
	s.odd[i] = true
	usual := s.Programs
	s.Programs = p
	s.nodes[i], err = s.StartNode(ctx, i, env...)
	s.Programs = usual
	return errors.Join(err, s.connected(ctx))
}

// fill gives node 0's p2pd a disk that is smaller than the image.
func (s *stage) fill(ctx context.Context, size lab.Size) error {
	if err := s.nodes[0].Stop(); err != nil {
		return err
	}
	dir := filepath.Join(s.Dir, s.Net.Nodes[0].Name, "store")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("mount a small disk: %w", os.NewSyscallError("mount", err))
	}
	s.full = dir
	// Nothing is kept free, so that the disk really fills up.
	return s.restart(ctx, 0, s.Programs, "P2PD_STORE_KEEP_FREE=1B")
}

// seedPeer makes node 1's p2pd hold the case's image, also by its own word: the
// client has the last byte before that.
func (s *stage) seedPeer(ctx context.Context) error {
	report, err := lab.PullAt(ctx, s.Net.Nodes[1], lab.PullSpec{
		Base: s.MirrorURL(1), Host: lab.RegistryHost, Repository: s.image.Repository, Tag: s.image.Tag,
	})
	if err == nil && report.Digest != s.image.Digest {
		err = fmt.Errorf("pulled %s, want %s", report.Digest, s.image.Digest)
	}
	if err != nil {
		return err
	}
	return s.until(ctx, 1, lab.DownloadsActive, func(v float64) bool { return v == 0 })
}

// until waits until a metric of node i is as it should be.
func (s *stage) until(ctx context.Context, i int, metric string, is func(float64) bool) error {
	for v := 0.0; ; {
		m, err := s.nodes[i].Metrics(ctx)
		if err == nil {
			v, err = m.Of(metric)
		}
		if err != nil {
			return fmt.Errorf("%s was %.0f and not as it should be: %w", metric, v, err)
		}
		if is(v) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was %.0f and not as it should be: %w", metric, v, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// when waits until a metric of node 0 has grown by so much since the call.
func (s *stage) when(ctx context.Context, metric string, by float64) error {
	first := -1.0
	return s.until(ctx, 0, metric, func(v float64) bool {
		if first < 0 {
			first = v
		}
		return v-first >= by
	})
}

// arriving waits until containerd has so much of a layer, and not the whole.
func (s *stage) arriving(ctx context.Context, want int64) error {
	for {
		got, err := s.cri.Arriving()
		if err != nil || got >= want {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd had %d of %d bytes only before the pull ended", got, want)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
