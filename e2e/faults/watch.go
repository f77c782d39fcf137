package faults

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	sampleEvery = 5 * time.Second
	// sampleWait bounds one look at a process, which may be frozen.
	sampleWait = 2 * time.Second
)

// watch samples every process until ctx ends. What does not answer, because it
// is down or frozen, is not sampled.
func (s *stage) watch(ctx context.Context) {
	for sleep(ctx, sampleEvery) {
		for i := range s.nodes {
			if sample, err := s.look(ctx, s.node(i), s.store(i)); err == nil {
				s.rec.add(sample)
			}
		}
		for i := range s.schedulers {
			if sample, err := s.look(ctx, s.scheduler(i), ""); err == nil {
				s.rec.add(sample)
			}
		}
	}
}

// look samples one process; store is its disk, if it has one.
func (s *stage) look(ctx context.Context, d *lab.Daemon, store string) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleWait)
	defer cancel()
	out := Sample{Process: d.Name, At: time.Now()}
	usage, err := d.Usage()
	if err != nil {
		return out, err
	}
	out.RSS = int64(usage.RSS)
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.PID()))
	if err != nil {
		return out, err
	}
	out.Files = len(files)
	m, err := d.Metrics(ctx)
	if err != nil {
		return out, err
	}
	out.Goroutines = int(m["go_goroutines"])
	out.StoreBytes = int64(m[`p2pd_cache_bytes{of="whole"}`] + m[`p2pd_cache_bytes{of="partial"}`])
	out.FromPeers, out.FromOrigin, out.Relayed = int64(m[lab.ReceivedFromPeers]), int64(m[lab.ReceivedFromOrigin]), int64(m["p2pd_relayed_bytes_total"])
	out.FalsePieces, out.FalseBlobs = int64(m[lab.FalsePieces]), int64(m[lab.FalseBlobs])
	if store == "" {
		return out, nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(store, &st); err != nil {
		return out, err
	}
	out.OnDisk, out.Capacity = int64(st.Blocks-st.Bfree)*st.Bsize, int64(st.Blocks)*st.Bsize
	return out, nil
}
