package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	allPhases = "cold,layers,straggler,zones,near-origin,capped,warm,direct"

	// manyLayers is the image of the layers phase: the same bytes in as many.
	manyLayers = 20
	// stragglerRate is the link of the one slow node.
	stragglerRate = lab.Rate(20e6)
	// zoneCount is how many zones the nodes are dealt to.
	zoneCount = 3
	// connectionRate is what the capped origin gives each answer.
	connectionRate = lab.Rate(10e6)
)

// phase is one thing that is measured, in a lab of its own.
type phase struct {
	shape   lab.Shape
	layers  int
	measure func(context.Context, *lab.Lab, lab.Image) error
}

// phase is the one of a name.
func (b *bench) phase(name string) (phase, bool) {
	p := phase{shape: b.Shape, layers: b.layers}
	switch name {
	case "cold":
		p.measure = b.cold
	case "layers":
		p.layers, p.measure = manyLayers, b.manyLayers
	case "straggler":
		p.shape.Straggler, p.measure = stragglerRate, b.straggler
	case "zones":
		p.measure = b.zones
	case "near-origin":
		p.measure = b.nearOrigin
	case "capped":
		p.measure = b.capped
	case "warm":
		p.measure = b.warm
	case "direct":
		p.measure = b.direct
	default:
		return p, false
	}
	return p, true
}

// crowd is what a cold pull of all nodes at once showed.
type crowd struct {
	times    []float64 // of the clients, seconds
	tally    lab.Tally // at the origin
	cpu      float64   // of all p2pds, seconds
	received float64   // by them, bytes
	peakRSS  lab.Size
}

// flash lets all nodes pull an image that nobody has.
func (b *bench) flash(ctx context.Context, l *lab.Lab, img lab.Image, swarm *lab.Swarm) (c crowd, err error) {
	before, err := usage(swarm.Nodes)
	if err != nil {
		return c, err
	}
	mark, err := l.Registry.Mark(ctx)
	if err != nil {
		return c, err
	}
	c.times, err = b.profiled(ctx, swarm, func() ([]float64, error) { return pullAll(ctx, l, img, 0, viaP2PD) })
	if err != nil {
		return c, err
	}
	after, err := usage(swarm.Nodes)
	if err != nil {
		return c, err
	}
	c.cpu, c.peakRSS = (after.CPU - before.CPU).Seconds(), after.PeakRSS
	if c.tally, err = l.Registry.Since(ctx, mark); err != nil {
		return c, err
	}
	c.received, err = received(ctx, swarm)
	return c, err
}

// spread are the figures that every crowd has.
func (b *bench) spread(name string, c crowd, img lab.Image, bound float64) {
	b.figure("swarm."+name+".makespan_over_bound", slices.Max(c.times)/bound, "ratio")
	b.figure("swarm."+name+".p99_over_p50", percentile(c.times, 99)/percentile(c.times, 50), "ratio")
	b.figure("swarm."+name+".origin_copies", float64(c.tally.BlobBytes)/float64(img.Bytes), "ratio")
}

// cold: nobody has the image.
func (b *bench) cold(ctx context.Context, l *lab.Lab, img lab.Image) error {
	swarm, err := l.StartSwarm(ctx)
	if err != nil {
		return err
	}
	c, err := b.flash(ctx, l, img, swarm)
	if err != nil {
		return err
	}
	b.spread("cold", c, img, b.bound(img))
	b.figure("swarm.cold.origin_blob_requests", float64(c.tally.Requests[lab.BlobGet]), "count")
	b.figure("swarm.cpu_s_per_gib_received", c.cpu/(c.received/(1<<30)), "seconds")
	b.figure("swarm.rss_max_mib", float64(c.peakRSS)/(1<<20), "MiB")
	b.coldMakespan = slices.Max(c.times)
	return nil
}

// manyLayers: the same bytes in many layers.
func (b *bench) manyLayers(ctx context.Context, l *lab.Lab, img lab.Image) error {
	swarm, err := l.StartSwarm(ctx)
	if err != nil {
		return err
	}
	c, err := b.flash(ctx, l, img, swarm)
	if err == nil {
		b.spread("layers", c, img, b.bound(img))
	}
	return err
}

// straggler: one node has a slow line. It takes as long as that line does; the
// question is what it costs the others.
func (b *bench) straggler(ctx context.Context, l *lab.Lab, img lab.Image) error {
	swarm, err := l.StartSwarm(ctx)
	if err != nil {
		return err
	}
	c, err := b.flash(ctx, l, img, swarm)
	if err != nil {
		return err
	}
	last := len(c.times) - 1
	others := c.times[:last]
	b.figure("swarm.straggler.others_makespan_over_bound", slices.Max(others)/b.bound(img), "ratio")
	if b.coldMakespan > 0 {
		b.figure("swarm.straggler.others_over_cold", slices.Max(others)/b.coldMakespan, "ratio")
	}
	alone := float64(img.Bytes) / stragglerRate.BytesPerSecond()
	b.figure("swarm.straggler.itself_over_its_line", c.times[last]/alone, "ratio")
	b.figure("swarm.straggler.origin_copies", float64(c.tally.BlobBytes)/float64(img.Bytes), "ratio")
	return nil
}

// zones: the nodes are dealt to zones and know it.
func (b *bench) zones(ctx context.Context, l *lab.Lab, img lab.Image) error {
	return b.inZones(ctx, l, img, "zones", b.bound(img), nil)
}

// nearOrigin: so they are, and each zone reads from the origin for itself. No
// protocol could then be faster than the origin gives each zone its copy.
func (b *bench) nearOrigin(ctx context.Context, l *lab.Lab, img lab.Image) error {
	copies := zoneCount * float64(img.Bytes) / b.OriginRate.BytesPerSecond()
	return b.inZones(ctx, l, img, "near_origin", max(copies, b.bound(img)), map[string]any{"zones": map[string]any{"originNearer": true}})
}

// inZones measures nodes in zones whose scheduler has more in its configuration.
func (b *bench) inZones(ctx context.Context, l *lab.Lab, img lab.Image, name string, bound float64, more map[string]any) error {
	swarm, err := l.StartSwarmInZones(ctx, zoneCount, more)
	if err != nil {
		return err
	}
	c, err := b.flash(ctx, l, img, swarm)
	if err != nil {
		return err
	}
	b.spread(name, c, img, bound)
	crossed, err := swarm.Sum(ctx, lab.ReceivedAcrossZones)
	if err != nil {
		return fmt.Errorf("what crossed zones: %w", err)
	}
	b.figure("swarm."+name+".cross_zone_copies_per_zone", crossed/float64(img.Bytes)/zoneCount, "ratio")
	return nil
}

// capped: the origin gives each answer little, and many at once.
func (b *bench) capped(ctx context.Context, l *lab.Lab, img lab.Image) error {
	proxy, err := l.StartFaultProxy(ctx)
	if err != nil {
		return err
	}
	proxy.Set(lab.Fault{Rate: connectionRate})
	swarm, err := l.StartSwarm(ctx)
	if err != nil {
		return err
	}
	c, err := b.flash(ctx, l, img, swarm)
	if err == nil {
		b.spread("capped", c, img, b.bound(img))
	}
	return err
}
