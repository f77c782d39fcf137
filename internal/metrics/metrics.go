// Package metrics turns plain numbers into a Prometheus endpoint. It knows
// none of the parts that the numbers come from: a part keeps counters of its
// own and hands out a Stats struct, and whoever composes the parts names them
// here. There is no global registry, so that many daemons fit in one process.
//
// Start reading at Handler.
package metrics

import (
	"net/http"
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/p2pd/p2pd/internal/histogram"
)

// Metric is one metric as a read of the sources yields it. Label values must
// come from a fixed set: never a digest, an image or a peer.
type Metric struct {
	Name    string
	Help    string
	Gauge   bool // else a counter
	Samples []Sample
	// Spread makes it a histogram of seconds, without Samples.
	Spread []Spread
}

// Sample is one value, with its labels if it has any.
type Sample struct {
	Labels []Label
	Value  float64
}

// Spread is how many durations fell into which bucket, with labels if it has
// any.
type Spread struct {
	Labels []Label
	histogram.Snapshot
}

// Label is a name and a value.
type Label struct{ Name, Value string }

// Counter is a metric with one value that only grows.
func Counter[N ~int | ~int64 | ~uint64](name, help string, v N) Metric {
	return Metric{Name: name, Help: help, Samples: []Sample{{Value: float64(v)}}}
}

// Gauge is a metric with one value that goes up and down.
func Gauge[N ~int | ~int64 | ~uint64](name, help string, v N) Metric {
	return Metric{Name: name, Help: help, Gauge: true, Samples: []Sample{{Value: float64(v)}}}
}

// Histogram is a metric of durations without labels.
func Histogram(name, help string, s histogram.Snapshot) Metric {
	return Metric{Name: name, Help: help, Spread: []Spread{{Snapshot: s}}}
}

// By is a sample with one label.
func By[N ~int | ~int64 | ~uint64](label, value string, v N) Sample {
	return With(v, label, value)
}

// With is a sample with labels, given as name, value, name, value.
func With[N ~int | ~int64 | ~uint64](v N, labels ...string) Sample {
	return Sample{Labels: Labels(labels...), Value: float64(v)}
}

// Labels makes labels of name, value, name, value.
func Labels(pairs ...string) (all []Label) {
	for pair := range slices.Chunk(pairs, 2) {
		all = append(all, Label{pair[0], pair[1]})
	}
	return all
}

// Handler serves what read returns, the Go runtime's and the process's own metrics,
// and those of others. build is the name of the metric that tells the version. Who
// asks for OpenMetrics gets exemplars, too.
func Handler(build, version string, read func() []Metric, others ...prometheus.Gatherer) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collector{func() []Metric {
			return append(read(), Metric{
				Name: build, Help: "Always 1; the labels tell the version.", Gauge: true,
				Samples: []Sample{{Labels: []Label{{"version", version}, {"go", runtime.Version()}}, Value: 1}},
			})
		}},
	)
	all := append(prometheus.Gatherers{reg}, others...)
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// collector reads at each scrape.
type collector struct{ read func() []Metric }

// Describe implements prometheus.Collector: it sends nothing, since the
// metrics are known only when they are read.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, m := range c.read() {
		kind := prometheus.CounterValue
		if m.Gauge {
			kind = prometheus.GaugeValue
		}
		for _, s := range m.Samples {
			desc, values := m.desc(s.Labels)
			out <- prometheus.MustNewConstMetric(desc, kind, s.Value, values...)
		}
		for _, s := range m.Spread {
			desc, values := m.desc(s.Labels)
			classic := prometheus.MustNewConstHistogram(desc, s.Count(), s.Sum.Seconds(), cumulative(s.Snapshot), values...)
			out <- exemplified(newBoth(classic, s.Snapshot, values), s.Traced)
		}
	}
}

// exemplified is a histogram with an example for each bucket that has one.
func exemplified(m prometheus.Metric, traced []histogram.Exemplar) prometheus.Metric {
	if len(traced) == 0 {
		return m
	}
	all := make([]prometheus.Exemplar, 0, len(traced))
	for _, e := range traced {
		all = append(all, prometheus.Exemplar{Value: e.Took.Seconds(), Labels: prometheus.Labels{"trace_id": e.Trace}, Timestamp: e.At})
	}
	return prometheus.MustNewMetricWithExemplars(m, all...)
}

// desc is what a sample is of, and its labels' values.
func (m Metric) desc(labels []Label) (*prometheus.Desc, []string) {
	var names, values []string
	for _, l := range labels {
		names, values = append(names, l.Name), append(values, l.Value)
	}
	return prometheus.NewDesc(m.Name, m.Help, names, nil), values
}

// cumulative are the buckets as Prometheus has them: each counts those below
// it, too, and its bound is in seconds.
func cumulative(s histogram.Snapshot) map[float64]uint64 {
	buckets, n := make(map[float64]uint64, len(s.Bounds)), uint64(0)
	for i, bound := range s.Bounds {
		n += s.Counts[i]
		buckets[bound.Seconds()] = n
	}
	return buckets
}
