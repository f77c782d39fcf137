package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/p2pd/p2pd/internal/histogram"
)

// both is one histogram in both of Prometheus's forms: with the buckets that alerts
// and dashboards name, and as a native one, for quantiles that no bucket's edge
// rounds. Only who scrapes the protobuf format gets the latter.
type both struct{ classic, native prometheus.Metric }

func newBoth(classic prometheus.Metric, s histogram.Snapshot, labels []string) both {
	fine, zero := make(map[int]int64, len(s.Fine)), s.Count()
	for i, n := range s.Fine {
		fine[i] = int64(n)
		zero -= n
	}
	return both{classic, prometheus.MustNewConstNativeHistogram(classic.Desc(), s.Count(), s.Sum.Seconds(), fine, nil, zero,
		histogram.FineSchema, prometheus.DefNativeHistogramZeroThreshold, time.Time{}, labels...)}
}

// Desc implements prometheus.Metric.
func (b both) Desc() *prometheus.Desc { return b.classic.Desc() }

// Write implements prometheus.Metric.
func (b both) Write(out *dto.Metric) error {
	var native dto.Metric
	if err := b.native.Write(&native); err != nil {
		return err
	}
	if err := b.classic.Write(out); err != nil {
		return err
	}
	from, to := native.Histogram, out.Histogram
	to.Schema, to.ZeroThreshold, to.ZeroCount = from.Schema, from.ZeroThreshold, from.ZeroCount
	to.PositiveSpan, to.PositiveDelta = from.PositiveSpan, from.PositiveDelta
	return nil
}
