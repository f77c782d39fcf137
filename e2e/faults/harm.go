package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
)

// Harm is a way in which all that is peer to peer is broken at once, for a node
// that pulls what its peers hold. Its faults befall every other node, or the
// scheduler.
type Harm struct {
	Name  string
	Kinds []Kind
}

// Harms are all that there are.
func Harms() []Harm {
	return []Harm{
		{"nothing", nil},
		{"scheduler_killed", []Kind{SchedulerKill}},
		{"scheduler_frozen", []Kind{SchedulerStop}},
		{"scheduler_cut", []Kind{SchedulersCut}},
		{"peers_killed", []Kind{NodeKill}},
		{"peers_frozen", []Kind{NodeFreeze}},
		{"peers_silent", []Kind{NodeDrop}},
		{"peers_rejecting", []Kind{NodeReject}},
		{"peers_slow", []Kind{NodeSlow}},
		{"peers_false", []Kind{NodeCorrupt}},
		{"all_frozen", []Kind{NodeFreeze, SchedulerStop}},
		{"all_cut", []Kind{NodeCut, SchedulersCut}},
	}
}

const (
	// harmImage is what is pulled: some seconds' worth on a line of nodeRate.
	harmImage = lab.Size(50 << 20)
	// harmSettles is until what was broken has taken effect.
	harmSettles = 500 * time.Millisecond
	// harmPulls of each kind, of which the latest counts: the promise is for each.
	harmPulls = 3
)

// HarmShape is the lab that Harmed wants.
func HarmShape() lab.Shape {
	return lab.Shape{Nodes: 4, NodeRate: nodeRate, OriginRate: originRate}
}

// Harmed returns by how much later a pull through p2pd ends than the same pull
// from the registry, in seconds, with what h says broken since a moment before.
// The other nodes hold the image. The lab must be new, of HarmShape, and its
// p2pd built with the tag p2pd_faults.
func Harmed(ctx context.Context, l *lab.Lab, h Harm) (later float64, err error) {
	s, err := newStage(ctx, l, 1, newRecorder(io.Discard, 0, time.Now()))
	if err != nil {
		return 0, err
	}
	for k := range harmPulls {
		seconds, err := s.harmed(ctx, h, uint64(k))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", h.Name, err)
		}
		later = max(later, seconds)
	}
	return later, nil
}

// harmed is one pull each way.
func (s *stage) harmed(ctx context.Context, h Harm, seed uint64) (later float64, err error) {
	img, err := s.Registry.Push(ctx, lab.ImageSpec{
		Repository: "harm/app", Tag: "v1", Size: harmImage, Layers: 1, Synthetic: true, Seed: seed,
	})
	if err != nil {
		return 0, err
	}
	for i := 1; i < s.Nodes; i++ {
		if _, err := lab.PullAt(ctx, s.Net.Nodes[i], s.throughP2PD(i, img)); err != nil {
			return 0, err
		}
	}
	direct, err := lab.PullAt(ctx, s.Net.Nodes[0], lab.PullSpec{Base: s.Registry.Endpoint, Repository: img.Repository, Tag: img.Tag})
	if err != nil {
		return 0, err
	}
	over, err := s.strike(ctx, h)
	defer func() { err = errors.Join(err, over(context.WithoutCancel(ctx))) }()
	if err != nil {
		return 0, err
	}
	sleep(ctx, harmSettles)
	through, err := lab.PullAt(ctx, s.Net.Nodes[0], s.throughP2PD(0, img))
	return through.Seconds - direct.Seconds, err
}

func (s *stage) throughP2PD(i int, img lab.Image) lab.PullSpec {
	return lab.PullSpec{Base: s.MirrorURL(i), Host: lab.RegistryHost, Repository: img.Repository, Tag: img.Tag}
}

// strike begins what h says, everywhere. over, which is never nil, ends it and
// returns when all is well again.
func (s *stage) strike(ctx context.Context, h Harm) (over ending, err error) {
	var ends []ending
	begin := func(kind Kind, node int) {
		end, failed := s.begin(ctx, Step{Kind: kind, Node: node, Seed: rand.Uint64()})
		if end != nil {
			ends = append(ends, end)
		}
		err = errors.Join(err, failed)
	}
	for _, kind := range h.Kinds {
		if slices.Contains(schedulerFaults, kind) || slices.Contains(schedulersFaults, kind) {
			begin(kind, -1)
			continue
		}
		for i := 1; i < s.Nodes; i++ {
			begin(kind, i)
		}
	}
	return func(ctx context.Context) error {
		var failed error
		for _, end := range ends {
			failed = errors.Join(failed, end(ctx))
		}
		return errors.Join(failed, s.wellAgain(ctx))
	}, err
}
