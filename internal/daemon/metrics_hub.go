package daemon

import (
	"context"
	"net/http"

	"github.com/p2pd/p2pd/internal/metrics"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// metricsHandler serves the scheduler's numbers.
func (h *Hub) metricsHandler() http.Handler {
	return metrics.Handler("p2psched_build_info", h.version, h.metrics)
}

func (h *Hub) metrics() []metrics.Metric {
	s := h.server.Stats()
	events := metrics.Metric{Name: "p2psched_events_total", Help: "Events from peers, by kind."}
	for k, v := range s.Events {
		events.Samples = append(events.Samples, metrics.By("kind", k, v))
	}
	ms := []metrics.Metric{
		events,
		metrics.Gauge("p2psched_peers", "Peers with a stream.", s.Connected),
		metrics.Counter("p2psched_stream_overflows_total", "Streams closed because the peer did not read.", s.Overflows),
		metrics.Counter("p2psched_malformed_total", "Streams closed because of a malformed message.", s.Malformed),
		metrics.Counter("p2psched_reports_refused_total", "Reports for people that were not read, for their peer sent too many.", s.Excess),
		metrics.Counter("p2psched_summaries_skipped_total", "Summaries of peers that were left out because too much waited for the scheduler.", s.Skipped),
		metrics.Counter("p2psched_credentials_total", "Credentials given to peers.", s.Enrolled),
		metrics.Counter("p2psched_credentials_refused_total", "Peers that were refused one.", s.Refused),
	}
	if h.fleet != nil {
		s := h.fleet.Stats()
		ms = append(ms, metrics.Metric{Name: "p2psched_memberlist_members", Help: "Schedulers of the cluster, by whether they are up, or were and are gone.", Gauge: true, Samples: []metrics.Sample{
			metrics.By("state", "alive", s.Alive), metrics.By("state", "gone", s.Gone),
		}})
	}
	ms = append(ms, h.preheatMetrics()...)
	ctx, cancel := context.WithTimeout(context.Background(), inspectTimeout)
	defer cancel()
	c, err := h.coreStats(ctx)
	if err != nil {
		return ms // numbers that are not there say more than zeros
	}
	return append(ms,
		metrics.Gauge("p2psched_swarms", "Swarms.", c.Swarms),
		metrics.Gauge("p2psched_members", "Memberships of peers in swarms.", c.Members),
		metrics.Gauge("p2psched_leases_active", "Leases of origin reads that are out.", c.LeasesActive),
		metrics.Metric{Name: "p2psched_leases_total", Help: "Leases that ended, by how.", Samples: []metrics.Sample{
			metrics.By("outcome", "done", c.LeasesDone), metrics.By("outcome", "failed", c.LeasesFailed), metrics.By("outcome", "expired", c.LeasesExpired), metrics.By("outcome", "slow", c.LeasesSlow),
		}},
		metrics.Metric{Name: "p2psched_decisions_total", Help: "Decisions, by kind.", Samples: []metrics.Sample{
			metrics.By("kind", "introduce", c.Introductions), metrics.By("kind", "part", c.Parts),
			metrics.By("kind", "grant", c.Grants), metrics.By("kind", "revoke", c.Revocations),
		}},
		metrics.Metric{Name: "p2psched_blames_total", Help: "Neighbours reported, by what for.", Samples: []metrics.Sample{
			metrics.By("fault", "slow", c.Blames[scheduler.Slow]), metrics.By("fault", "unreachable", c.Blames[scheduler.Unreachable]),
			metrics.By("fault", "false", c.Blames[scheduler.False]),
		}},
		metrics.Counter("p2psched_stalls_total", "Calls for help from peers that received nothing.", c.Stalls),
		metrics.Counter("p2psched_bans_total", "Peers banned for false bytes.", c.Banned),
		metrics.Counter("p2psched_disputes_total", "Blobs whose pieces did not add up at a peer: once when it said so, once when it had it right.", c.Disputes),
		metrics.Counter("p2psched_doubtful_blames_total", "Blames for false bytes by peers that had blamed too many others to be believed.", c.DoubtfulBlames),
		metrics.Counter("p2psched_size_conflicts_total", "Claims of a blob's size that differ from what its swarm believed.", c.SizeConflicts),
		metrics.Counter("p2psched_crowded_joins_total", "Joins of peers that were in as many swarms as a peer may be in.", c.Crowded),
		metrics.Gauge("p2psched_hosts", "Origin registries that are remembered.", c.Hosts),
	)
}
