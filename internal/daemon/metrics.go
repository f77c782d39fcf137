package daemon

import (
	"net/http"

	"github.com/p2pd/p2pd/internal/metrics"
)

// metricsHandler serves the node's numbers.
func (n *Node) metricsHandler() http.Handler {
	return metrics.Handler("p2pd_build_info", n.version, func() []metrics.Metric {
		ms := append(n.swarmMetrics(), n.clientMetrics()...)
		ms = append(ms, n.pullMetrics()...)
		ms = append(ms, n.schedulerMetrics()...)
		ms = append(ms, n.storeMetrics()...)
		ms = append(ms, n.contentMetrics()...)
		ms = append(ms, n.discoveryMetrics()...)
		ms = append(ms, n.membershipMetrics()...)
		ms = append(ms, n.may.metrics()...)
		ms = append(ms, n.limits.metrics()...)
		ms = append(ms, n.reload.metrics()...)
		if n.hub != nil {
			ms = append(ms, n.hub.metrics()...)
		}
		return ms
	}, n.libp2p)
}

// swarmMetrics are of what comes from and goes to others.
func (n *Node) swarmMetrics() []metrics.Metric {
	p, t := n.peer.Stats(), n.net.Stats()
	return []metrics.Metric{
		{Name: "p2pd_bytes_total", Help: "Bytes of blobs. Received: of verified pieces, by who gave them and from how far. Sent: by where they were read, and to whom.", Samples: []metrics.Sample{
			metrics.With(p.ReceivedPeer-p.ReceivedFar, "direction", "received", "source", "peer", "scope", "zone"),
			metrics.With(p.ReceivedFar, "direction", "received", "source", "peer", "scope", "cross_zone"),
			metrics.With(p.ReceivedOrigin, "direction", "received", "source", "origin", "scope", "origin"),
			metrics.With(p.ServedStore, "direction", "sent", "source", "cache", "scope", "client"),
			metrics.With(p.ServedDownload, "direction", "sent", "source", "download", "scope", "client"),
			metrics.With(p.Uploaded, "direction", "sent", "source", "cache", "scope", "peer"),
		}},
		{Name: "p2pd_pieces_received_total", Help: "Pieces received and verified, by where they came from.", Samples: []metrics.Sample{
			metrics.By("source", "peer", p.PiecesPeer), metrics.By("source", "origin", p.PiecesOrigin),
		}},
		{Name: "p2pd_verify_failures_total", Help: "Pieces and blobs that were not what their digest promised.", Samples: []metrics.Sample{
			metrics.By("what", "piece", p.FalsePieces), metrics.By("what", "blob", p.FalseBlobs),
		}},
		metrics.Counter("p2pd_peer_bans_total", "Peers that were shunned for false bytes.", p.Bans),
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
		metrics.Gauge("p2pd_links", "HAVE links to neighbours.", t.Links),
		metrics.Counter("p2pd_links_lost_total", "HAVE links that broke or could not be made.", t.LinksLost),
		metrics.Counter("p2pd_bulk_connections_total", "Bulk connections dialled to neighbours.", t.FetchConns),
	}
}

// clientMetrics are of the mirror and the origin behind it.
func (n *Node) clientMetrics() []metrics.Metric {
	m, o := n.mirror.Stats(), n.origin.Stats()
	requests := metrics.Metric{Name: "p2pd_pull_requests_total", Help: "Requests of clients, by registry, kind and how they ended."}
	for e, v := range m.Requests {
		requests.Samples = append(requests.Samples, metrics.With(v, "registry", e.Registry, "kind", e.Kind.String(), "outcome", e.Outcome.String()))
	}
	upstream := metrics.Metric{Name: "p2pd_origin_requests_total", Help: "Requests to origin registries, by registry, kind, and status or class of status."}
	for r, v := range o.Requests {
		upstream.Samples = append(upstream.Samples, metrics.With(v, "registry", r.Registry, "kind", r.Kind, "code", r.Code))
	}
	return []metrics.Metric{
		requests, upstream,
		metrics.Gauge("p2pd_pull_requests_active", "Requests of clients being answered now.", m.Running),
		metrics.Gauge("p2pd_origin_inflight", "Requests for content to origin registries running now.", o.Inflight),
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
	ms := []metrics.Metric{
		{Name: "p2pd_cache_bytes", Help: "Bytes on disk, by what they are of.", Gauge: true, Samples: []metrics.Sample{
			metrics.By("of", "whole", s.WholeBytes), metrics.By("of", "partial", s.PartialBytes),
		}},
		metrics.Gauge("p2pd_cache_capacity_bytes", "Bytes that the store may use.", s.Capacity),
		metrics.Gauge("p2pd_cache_blobs", "Whole blobs in the store.", s.Blobs),
		metrics.Counter("p2pd_cache_resumed_bytes_total", "Bytes found on disk, and right, when a download began again.", s.ResumedBytes),
		{Name: "p2pd_cache_evictions_total", Help: "Blobs that were removed: for the store's own capacity, for the room that others are to have on the disk, or by an operator.", Samples: []metrics.Sample{
			metrics.By("reason", "capacity", s.Evicted.Capacity), metrics.By("reason", "disk", s.Evicted.Disk), metrics.By("reason", "operator", s.Evicted.Operator),
		}},
		metrics.Counter("p2pd_cache_full_total", "Downloads refused because the store had no room.", s.NoSpace),
	}
	if free, known := n.store.DiskFree(); known {
		ms = append(ms, metrics.Gauge("p2pd_cache_disk_free_bytes", "Bytes that may still be written to the file system of the store.", free))
	}
	return ms
}
