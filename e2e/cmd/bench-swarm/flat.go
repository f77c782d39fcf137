package main

import (
	"context"
	"fmt"
	"os"

	"github.com/p2pd/p2pd/e2e/lab"
)

// flatRate is that of every link while memory is measured.
const flatRate = lab.Rate(1e9)

// flatMemory pulls one large layer through one p2pd from the origin, then
// through a second from the first: memory must not follow the layer's size.
func (b *bench) flatMemory(ctx context.Context) error {
	fmt.Fprintf(os.Stderr, "flat: one layer of %v, 2 nodes at %v\n", b.flat, flatRate)
	shape := lab.Shape{Nodes: 2, NodeRate: flatRate, OriginRate: flatRate}
	spec := lab.ImageSpec{Repository: "bench/large", Tag: "v1", Size: b.flat, Layers: 1, Synthetic: true}
	return b.inLab(ctx, shape, spec, func(ctx context.Context, l *lab.Lab, img lab.Image) error {
		swarm, err := l.StartSwarm(ctx)
		if err != nil {
			return err
		}
		idle, err := usage(swarm.Nodes)
		if err != nil {
			return err
		}
		for i, source := range []string{"origin", "peer"} {
			report, err := lab.PullAt(ctx, l.Net.Nodes[i], viaP2PD(l, img, i))
			if err != nil {
				return err
			}
			b.figure("flat."+source+".over_line", report.Seconds/lab.Bound(1, lab.Size(img.Bytes), flatRate, flatRate, flatRate).Seconds(), "ratio")
		}
		after, err := usage(swarm.Nodes)
		if err != nil {
			return err
		}
		b.figure("memory.rss_idle_mib", float64(idle.PeakRSS)/(1<<20), "MiB")
		b.figure("memory.rss_max_mib", float64(after.PeakRSS)/(1<<20), "MiB")
		return nil
	})
}
