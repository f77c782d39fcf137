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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metric is one metric as a read of the sources yields it. Label values must
// come from a fixed set: never a digest, an image or a peer.
type Metric struct {
	Name    string
	Help    string
	Gauge   bool // else a counter
	Samples []Sample
}

// Sample is one value, with its label if it has one.
type Sample struct {
	Labels []Label
	Value  float64
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

// By is a sample with one label.
func By[N ~int | ~int64 | ~uint64](label, value string, v N) Sample {
	return Sample{Labels: []Label{{label, value}}, Value: float64(v)}
}

// Handler serves what read returns, and the Go runtime's and the process's
// own metrics. build is the name of the metric that tells the version.
func Handler(build, version string, read func() []Metric) http.Handler {
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
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
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
			var names, values []string
			for _, l := range s.Labels {
				names, values = append(names, l.Name), append(values, l.Value)
			}
			out <- prometheus.MustNewConstMetric(prometheus.NewDesc(m.Name, m.Help, names, nil), kind, s.Value, values...)
		}
	}
}
