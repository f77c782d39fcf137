package daemon

import (
	"context"
	"net/http"

	"github.com/p2pd/p2pd/internal/metrics"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// metricsHandler serves the node's numbers.
func (n *Node) metricsHandler() http.Handler {
	return metrics.Handler("p2pd_build_info", n.version, func() []metrics.Metric {
		ms := append(n.swarmMetrics(), n.clientMetrics()...)
		ms = append(ms, n.storeMetrics()...)
		ms = append(ms, n.contentMetrics()...)
		ms = append(ms, n.discoveryMetrics()...)
		ms = append(ms, n.membershipMetrics()...)
		ms = append(ms, n.may.metrics()...)
		if n.hub != nil {
			ms = append(ms, n.hub.metrics()...)
		}
		return ms
	})
}

// swarmMetrics are of what comes from and goes to others.
func (n *Node) swarmMetrics() []metrics.Metric {
	p, t := n.peer.Stats(), n.net.Stats()
	attached := 0
	if p.Attached {
		attached = 1
	}
	return []metrics.Metric{
		{Name: "p2pd_bytes_received_total", Help: "Bytes of verified pieces, by where they came from.", Samples: []metrics.Sample{
			metrics.By("source", "peer", p.ReceivedPeer), metrics.By("source", "origin", p.ReceivedOrigin),
		}},
		{Name: "p2pd_cross_zone_bytes_total", Help: "Bytes of verified pieces from peers of other zones.", Samples: []metrics.Sample{
			metrics.By("direction", "received", p.ReceivedFar),
		}},
		{Name: "p2pd_pieces_received_total", Help: "Pieces received and verified, by where they came from.", Samples: []metrics.Sample{
			metrics.By("source", "peer", p.PiecesPeer), metrics.By("source", "origin", p.PiecesOrigin),
		}},
		{Name: "p2pd_bytes_served_total", Help: "Bytes sent, by to whom.", Samples: []metrics.Sample{
			metrics.By("to", "client", p.ServedStore+p.ServedDownload), metrics.By("to", "peer", p.Uploaded),
		}},
		{Name: "p2pd_verify_failures_total", Help: "Pieces and blobs that were not what their digest promised.", Samples: []metrics.Sample{
			metrics.By("what", "piece", p.FalsePieces), metrics.By("what", "blob", p.FalseBlobs),
		}},
		{Name: "p2pd_leases_total", Help: "Reads from the origin under a lease, by how they ended.", Samples: []metrics.Sample{
			metrics.By("outcome", "done", p.LeasesDone), metrics.By("outcome", "failed", p.LeasesFailed),
		}},
		metrics.Counter("p2pd_relayed_bytes_total", "Bytes from origin registries that went to clients past a store without room.", p.Relayed),
		metrics.Gauge("p2pd_relays_active", "Transfers past the store running now.", p.Relays),
		metrics.Gauge("p2pd_leases_active", "Reads from the origin running now.", p.Leases),
		metrics.Counter("p2pd_self_leases_total", "Reads from the origin without the scheduler's word.", p.SelfLeases),
		{Name: "p2pd_downloads_total", Help: "Downloads that ended, by how.", Samples: []metrics.Sample{
			metrics.By("outcome", "complete", p.Completed), metrics.By("outcome", "failed", p.Failed),
		}},
		metrics.Counter("p2pd_prefetched_bytes_total", "Bytes of verified pieces from neighbours of layers that no client had asked for yet.", p.AheadBytes),
		{Name: "p2pd_prefetches_total", Help: "Layers that began to arrive before a client asked: whole before it asked, taken over by its request, or given up.", Samples: []metrics.Sample{
			metrics.By("outcome", "complete", p.AheadWhole), metrics.By("outcome", "taken", p.AheadTaken), metrics.By("outcome", "given_up", p.AheadGivenUp),
		}},
		metrics.Gauge("p2pd_downloads_active", "Downloads running now.", p.Downloads),
		metrics.Counter("p2pd_hedges_total", "Pieces asked of a second neighbour because the first was late.", p.Hedges),
		metrics.Counter("p2pd_piece_deadlines_missed_total", "Piece transfers given up for showing no byte.", p.Deadlines),
		metrics.Counter("p2pd_busy_answers_total", "Requests that a neighbour turned down for want of an upload slot.", p.Busy),
		metrics.Gauge("p2pd_scheduler_connected", "1 while a scheduler's stream is up.", attached),
		metrics.Gauge("p2pd_schedulers", "Schedulers that swarms are dealt to.", n.schedulers()),
		metrics.Gauge("p2pd_links", "HAVE links to neighbours.", t.Links),
		metrics.Counter("p2pd_links_lost_total", "HAVE links that broke or could not be made.", t.LinksLost),
		metrics.Counter("p2pd_bulk_connections_total", "Bulk connections dialled to neighbours.", t.FetchConns),
	}
}

// clientMetrics are of the mirror and the origin behind it.
func (n *Node) clientMetrics() []metrics.Metric {
	p, m, o := n.peer.Stats(), n.mirror.Stats(), n.origin.Stats()
	requests := metrics.Metric{Name: "p2pd_mirror_requests_total", Help: "Requests of clients, by kind and how they ended."}
	for e, v := range m.Requests {
		requests.Samples = append(requests.Samples, metrics.Sample{
			Labels: []metrics.Label{{Name: "kind", Value: e.Kind.String()}, {Name: "outcome", Value: e.Outcome.String()}}, Value: float64(v),
		})
	}
	upstream := metrics.Metric{Name: "p2pd_origin_requests_total", Help: "Requests to origin registries, by kind and class of status."}
	for k, v := range o.Requests {
		upstream.Samples = append(upstream.Samples, metrics.Sample{
			Labels: []metrics.Label{{Name: "kind", Value: k[0]}, {Name: "code", Value: k[1]}}, Value: float64(v),
		})
	}
	return []metrics.Metric{
		requests, upstream,
		{Name: "p2pd_client_bytes_total", Help: "Bytes sent to clients: of blobs that were in the store whole, or while they arrived.", Samples: []metrics.Sample{
			metrics.By("source", "store", p.ServedStore), metrics.By("source", "download", p.ServedDownload),
		}},
		metrics.Gauge("p2pd_mirror_requests_running", "Requests of clients being answered now.", m.Running),
		metrics.Counter("p2pd_origin_bytes_total", "Bytes read from origin registries, manifests included.", o.Bytes),
		metrics.Counter("p2pd_origin_handshakes_total", "Handshakes with origin repositories.", o.Handshakes),
		metrics.Counter("p2pd_origin_errors_total", "Requests to origin registries that got no answer, and bodies that broke off or stalled.", o.Errors),
		metrics.Counter("p2pd_origin_endpoint_switches_total", "Requests that an endpoint of a registry did not answer, so that the next one was asked.", o.Switched),
		metrics.Counter("p2pd_stale_tags_total", "Tags whose last answer was repeated, for their registry was down.", o.Stale),
	}
}

// storeMetrics are of the disk.
func (n *Node) storeMetrics() []metrics.Metric {
	s := n.store.Stats()
	return []metrics.Metric{
		{Name: "p2pd_store_bytes", Help: "Bytes on disk, by what they are of.", Gauge: true, Samples: []metrics.Sample{
			metrics.By("of", "whole", s.WholeBytes), metrics.By("of", "partial", s.PartialBytes),
		}},
		metrics.Gauge("p2pd_store_capacity_bytes", "Bytes that the store may use.", s.Capacity),
		metrics.Gauge("p2pd_store_blobs", "Whole blobs in the store.", s.Blobs),
		metrics.Counter("p2pd_store_resumed_bytes_total", "Bytes found on disk, and right, when a download began again.", s.ResumedBytes),
		metrics.Counter("p2pd_store_evictions_total", "Blobs evicted for room.", s.Evictions),
		metrics.Counter("p2pd_store_full_total", "Downloads refused because the store had no room.", s.NoSpace),
	}
}

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
		metrics.Counter("p2psched_credentials_total", "Credentials given to peers.", s.Enrolled),
		metrics.Counter("p2psched_credentials_refused_total", "Peers that were refused one.", s.Refused),
	}
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
		metrics.Counter("p2psched_doubtful_blames_total", "Blames for false bytes by peers that had blamed too many others to be believed.", c.DoubtfulBlames),
		metrics.Counter("p2psched_size_conflicts_total", "Claims of a blob's size that differ from what its swarm believed.", c.SizeConflicts),
		metrics.Counter("p2psched_crowded_joins_total", "Joins of peers that were in as many swarms as a peer may be in.", c.Crowded),
		metrics.Gauge("p2psched_hosts", "Origin registries that are remembered.", c.Hosts),
	)
}
