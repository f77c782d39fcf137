package main

import (
	"context"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	lineRate = lab.Rate(1e9)
	// capRate is what some registries and their storage give a connection.
	capRate = lab.Rate(100e6)

	smallSize   = lab.Size(3 << 20)
	smallLayers = 3 // and the configuration: four blobs
)

// alone: a node whose p2pd has no peer to ask, and nothing slows the network.
func (b *bench) alone(ctx context.Context) error {
	return b.inLab(ctx, 0, func(s *stage) error {
		if _, err := s.lab.StartSwarm(ctx); err != nil {
			return err
		}
		pulls, first, err := s.measure(s.size, 1)
		if err != nil {
			return err
		}
		b.figure("node.alone_over_direct", pulls.ratio(), "ratio")
		b.figure("node.alone_mib_per_s", float64(s.size)/(1<<20)/median(pulls.through), "MiB/s")
		b.figure("node.added_first_byte_cold_ms", 1e3*(median(first.through)-median(first.direct)), "ms")
		return nil
	})
}

// containerd: the same with a real containerd, which writes and unpacks, on
// either node.
func (b *bench) containerd(ctx context.Context) error {
	return b.inLab(ctx, 0, func(s *stage) error {
		if _, err := s.lab.StartSwarm(ctx); err != nil {
			return err
		}
		runtime, err := b.programs.BuiltRuntime(ctx)
		if err != nil {
			return err
		}
		through, err := s.lab.StartContainerd(ctx, 0, runtime, lab.ThroughP2PD)
		if err != nil {
			return err
		}
		direct, err := s.lab.StartContainerd(ctx, 1, runtime, lab.Direct)
		if err != nil {
			return err
		}
		var pulls pair
		for range s.pairs {
			img, err := s.image(s.size, 1)
			if err != nil {
				return err
			}
			for _, way := range []struct {
				by    *lab.Containerd
				times *[]float64
			}{{direct, &pulls.direct}, {through, &pulls.through}} {
				began := time.Now()
				if err := way.by.Pull(ctx, img); err != nil {
					return err
				}
				*way.times = append(*way.times, time.Since(began).Seconds())
			}
		}
		b.figure("node.alone_over_direct_containerd", pulls.ratio(), "ratio")
		return nil
	})
}

// aloneOnALine: the same at 1 Gbit/s.
func (b *bench) aloneOnALine(ctx context.Context) error {
	return b.inLab(ctx, lineRate, func(s *stage) error {
		if _, err := s.lab.StartSwarm(ctx); err != nil {
			return err
		}
		pulls, _, err := s.measure(s.size, 1)
		if err == nil {
			b.figure("node.alone_over_direct_1gbit", pulls.ratio(), "ratio")
		}
		return err
	})
}

// capped: the origin gives each answer 100 Mbit/s of a line of 1 Gbit/s.
func (b *bench) capped(ctx context.Context) error {
	return b.inLab(ctx, lineRate, func(s *stage) error {
		proxy, err := s.lab.StartFaultProxy(ctx)
		if err != nil {
			return err
		}
		proxy.Set(lab.Fault{Rate: capRate})
		if _, err := s.lab.StartSwarm(ctx); err != nil {
			return err
		}
		pulls, _, err := s.measure(s.size/4, 1)
		if err == nil {
			b.figure("node.alone_over_direct_capped", pulls.ratio(), "ratio")
		}
		return err
	})
}

// small: what a pull costs when it is all round trips.
func (b *bench) small(ctx context.Context) error {
	return b.inLab(ctx, lineRate, func(s *stage) error {
		if _, err := s.lab.StartSwarm(ctx); err != nil {
			return err
		}
		alone, _, err := s.measure(smallSize, smallLayers)
		if err != nil {
			return err
		}
		b.figure("node.small_image_over_direct", alone.ratio(), "ratio")
		warm := pair{direct: alone.direct}
		for range s.pairs {
			img, err := s.image(smallSize, smallLayers)
			if err != nil {
				return err
			}
			if _, err := s.through(0, img); err != nil {
				return err
			}
			report, err := s.through(1, img)
			if err != nil {
				return err
			}
			warm.through = append(warm.through, report.Seconds)
		}
		b.figure("node.small_image_warm_peer_over_direct", warm.ratio(), "ratio")
		return nil
	})
}
