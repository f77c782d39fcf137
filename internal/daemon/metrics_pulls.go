package daemon

import (
	"maps"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/histogram"
	"github.com/p2pd/p2pd/internal/metrics"
)

// pullMetrics are of how long clients waited.
func (n *Node) pullMetrics() []metrics.Metric {
	s := n.pulls.Stats(time.Now())
	took := metrics.Metric{Name: "p2pd_image_pull_duration_seconds", Help: "How long pulls of images took, from the request for the manifest to the last byte of the last blob, by registry and how they ended."}
	for e, snapshot := range s.Took {
		took.Spread = append(took.Spread, metrics.Spread{Labels: metrics.Labels("registry", e.Registry, "outcome", string(e.Outcome)), Snapshot: snapshot})
	}
	return []metrics.Metric{
		took,
		metrics.Gauge("p2pd_image_pulls_active", "Pulls that wait for bytes now.", s.Running),
		{Name: "p2pd_image_pull_oldest_seconds", Help: "For how long the oldest of them has run; 0 if there is none.", Gauge: true, Samples: []metrics.Sample{{Value: s.Oldest.Seconds()}}},
		bySource("p2pd_blob_first_byte_seconds", "How long the first byte of a blob took, by where what had come of it was from.", s.FirstByte),
		bySource("p2pd_blob_duration_seconds", "How long all of a blob took, by where most of it was from.", s.Blob),
	}
}

func bySource[S ~string](name, help string, all map[S]histogram.Snapshot) metrics.Metric {
	m := metrics.Metric{Name: name, Help: help}
	for _, source := range slices.Sorted(maps.Keys(all)) {
		m.Spread = append(m.Spread, metrics.Spread{Labels: metrics.Labels("source", string(source)), Snapshot: all[source]})
	}
	return m
}

// schedulerMetrics are of the way to the schedulers.
func (n *Node) schedulerMetrics() []metrics.Metric {
	connected, degraded := 0, 0
	switch {
	case n.peer.Stats().Attached:
		connected = 1
	case n.client != nil:
		degraded = 1
	}
	ms := []metrics.Metric{
		metrics.Gauge("p2pd_scheduler_connected", "1 while a scheduler's stream is up.", connected),
		metrics.Gauge("p2pd_scheduler_degraded", "1 while a scheduler is configured and none answers: peers find each other.", degraded),
		metrics.Gauge("p2pd_schedulers", "Schedulers that swarms are dealt to.", n.schedulers()),
	}
	if n.client != nil {
		ms = append(ms, metrics.Histogram("p2pd_scheduler_rtt_seconds", "How long schedulers took from hearing of a download to their first word about it.", n.client.RoundTrips()))
	}
	return ms
}
