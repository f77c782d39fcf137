package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/p2pd/p2pd/e2e/lab"
)

// manyLayers are in flight at once while memory is measured.
const manyLayers = 16

// stage is a lab with two nodes in which transfers are measured.
type stage struct {
	*bench
	lab   *lab.Lab
	swarm *lab.Swarm
	img   lab.Image
}

// inLab runs f in a new lab.
func (b *bench) inLab(ctx context.Context, open bool, f func(*stage) error) (err error) {
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: 2}, Programs: b.programs, Open: open})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	s := &stage{bench: b, lab: l}
	if s.swarm, err = l.StartSwarm(ctx); err != nil {
		return err
	}
	return f(s)
}

// pull is one by node i's p2pd.
func (s *stage) pull(ctx context.Context, i int) (seconds float64, err error) {
	report, err := lab.PullAt(ctx, s.lab.Net.Nodes[i], lab.PullSpec{
		Base: s.lab.MirrorURL(i), Host: lab.RegistryHost, Repository: s.img.Repository, Tag: s.img.Tag,
		Known: s.img.Blobs, AtOnce: manyLayers,
	})
	return report.Seconds, err
}

// warm gives node 0 an image that nobody has seen, and the disk time to take it.
func (s *stage) warm(ctx context.Context, layers int) (err error) {
	s.seed++
	if s.img, err = s.lab.Registry.Push(ctx, lab.ImageSpec{
		Repository: "bench/image", Tag: "v1", Size: s.size, Layers: layers, Synthetic: true, Seed: s.seed,
	}); err != nil {
		return err
	}
	if _, err := s.pull(ctx, 0); err != nil {
		return err
	}
	unix.Sync()
	return nil
}

// tls: pieces on TLS 1.3, as by default, against crypto/tls.
func (b *bench) tls(ctx context.Context) error {
	return b.inLab(ctx, false, func(s *stage) error {
		t, err := s.against(ctx, true)
		if err != nil {
			return err
		}
		b.figure("peer.tls_throughput_over_crypto_tls", median(t.bare)/median(t.pulls), "ratio")
		b.figure("peer.tls_mib_per_s", float64(b.size)/(1<<20)/median(t.pulls), "MiB/s")
		b.figure("peer.cpu_s_per_gib_received", median(t.received), "s/GiB")
		b.figure("peer.cpu_s_per_gib_sent", median(t.sent), "s/GiB")
		b.figure("peer.crypto_tls_cpu_s_per_gib_received", median(t.bareReceived), "s/GiB")
		b.figure("peer.crypto_tls_cpu_s_per_gib_sent", median(t.bareSent), "s/GiB")
		return nil
	})
}

// clear: pieces in the clear, against sendfile.
func (b *bench) clear(ctx context.Context) error {
	return b.inLab(ctx, true, func(s *stage) error {
		t, err := s.against(ctx, false)
		if err != nil {
			return err
		}
		b.figure("peer.clear_throughput_over_sendfile", median(t.bare)/median(t.pulls), "ratio")
		b.figure("peer.clear_mib_per_s", float64(b.size)/(1<<20)/median(t.pulls), "MiB/s")
		b.figure("peer.clear_cpu_s_per_gib_received", median(t.received), "s/GiB")
		b.figure("peer.clear_cpu_s_per_gib_sent", median(t.sent), "s/GiB")
		return nil
	})
}

// many: the same bytes in many layers, all in flight at once.
func (b *bench) many(ctx context.Context) error {
	return b.inLab(ctx, false, func(s *stage) error {
		if err := s.warm(ctx, manyLayers); err != nil {
			return err
		}
		if _, err := s.pull(ctx, 1); err != nil {
			return err
		}
		var most lab.Size
		for _, d := range s.swarm.Nodes {
			u, err := d.Usage()
			if err != nil {
				return err
			}
			most = max(most, u.PeakRSS)
		}
		b.figure("peer.rss_max_mib_many_layers", float64(most)/(1<<20), "MiB")
		return nil
	})
}

// transfers are seconds, and CPU seconds a GiB, of each.
type transfers struct {
	bare, bareReceived, bareSent []float64
	pulls, received, sent        []float64
}

// against makes bare copies and pulls in turns: whatever else the machine does
// meets both.
func (s *stage) against(ctx context.Context, secure bool) (t transfers, err error) {
	for range s.pairs {
		if err := s.warm(ctx, 1); err != nil {
			return t, err
		}
		bare, err := s.bareCopy(ctx, s.lab.BlobFile(s.img.Blobs[len(s.img.Blobs)-1].Digest), secure)
		if err != nil {
			return t, err
		}
		gib := float64(bare.Bytes) / (1 << 30)
		t.bare, t.bareSent, t.bareReceived = append(t.bare, bare.Seconds), append(t.bareSent, bare.Sent/gib), append(t.bareReceived, bare.Received/gib)
		if err := s.profiled(ctx, func() error { return s.transfer(ctx, &t) }); err != nil {
			return t, err
		}
	}
	return t, s.fromPeer(ctx)
}

// transfer pulls on node 1 and notes what it cost on either side.
func (s *stage) transfer(ctx context.Context, t *transfers) error {
	if err := lab.TouchMemory(memoryOf * s.size); err != nil {
		return err
	}
	before, err := s.cpu()
	if err != nil {
		return err
	}
	seconds, err := s.pull(ctx, 1)
	if err != nil {
		return err
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	gib := float64(s.img.Bytes) / (1 << 30)
	t.pulls = append(t.pulls, seconds)
	t.sent = append(t.sent, (after[0]-before[0]).Seconds()/gib)
	t.received = append(t.received, (after[1]-before[1]).Seconds()/gib)
	return nil
}

// cpu is what each node's p2pd has used so far.
func (s *stage) cpu() (used [2]time.Duration, err error) {
	for i, d := range s.swarm.Nodes {
		u, err := d.Usage()
		if err != nil {
			return used, err
		}
		used[i] = u.CPU
	}
	return used, nil
}

// fromPeer makes sure that node 1 had all images from node 0 and none from the
// origin.
func (s *stage) fromPeer(ctx context.Context) error {
	m, err := s.swarm.Nodes[1].Metrics(ctx)
	if err != nil {
		return err
	}
	got, err := m.Of(lab.ReceivedFromPeers)
	if err != nil {
		return err
	}
	if got < float64(s.size)*float64(s.pairs) {
		return fmt.Errorf("node 2 had %.0f bytes of %d from node 1", got, int64(s.size)*int64(s.pairs))
	}
	return nil
}

// profiled runs f beside CPU profiles of both p2pds if they were asked for.
func (s *stage) profiled(ctx context.Context, f func() error) error {
	if s.profile == "" {
		return f()
	}
	done := make(chan error, len(s.swarm.Nodes))
	for _, d := range s.swarm.Nodes {
		go func() {
			done <- d.CPUProfile(ctx, profileLength, filepath.Join(s.profile, d.Name+".pprof"))
		}()
	}
	time.Sleep(profileLead)
	err := f()
	for range s.swarm.Nodes {
		err = errors.Join(err, <-done)
	}
	return err
}

const (
	// memoryOf is how many times the layer's size a transfer takes of the
	// machine's memory, for files and sockets.
	memoryOf = 2
	// profileLength outlasts a transfer of the default size.
	profileLength = 6 * time.Second
	// profileLead is until the profiles have begun.
	profileLead = 300 * time.Millisecond
)

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
