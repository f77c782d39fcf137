package daemon

import "github.com/p2pd/p2pd/internal/metrics"

// preheatMetrics are the numbers of preheat jobs. Every scheduler of a cluster knows
// those that run; of those that have ended each counts its own.
func (h *Hub) preheatMetrics() []metrics.Metric {
	s := h.desk.Stats()
	return []metrics.Metric{
		{Name: "p2psched_preheat_jobs", Help: "Preheat jobs of the cluster that have not ended, by state; all its schedulers say the same.", Gauge: true, Samples: []metrics.Sample{
			metrics.By("state", "pending", s.Pending), metrics.By("state", "running", s.Running),
		}},
		{Name: "p2psched_preheat_jobs_total", Help: "Preheat jobs that this scheduler ended, by how.", Samples: []metrics.Sample{
			metrics.By("outcome", "succeeded", s.Succeeded), metrics.By("outcome", "failed", s.Failed), metrics.By("outcome", "cancelled", s.Cancelled),
		}},
		metrics.Histogram("p2psched_preheat_duration_seconds", "How long preheat jobs took that succeeded at this scheduler, from when they were asked for.", s.Took),
		{Name: "p2psched_preheat_nodes_total", Help: "Nodes of those jobs, by whether they have the image.", Samples: []metrics.Sample{
			metrics.By("outcome", "done", s.NodesDone), metrics.By("outcome", "failed", s.NodesFailed),
		}},
	}
}
