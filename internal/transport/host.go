package transport

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// dialTimeout bounds a dial from the first packet to a stream that can
	// be written, and a bulk dial with its handshake. In one cluster that
	// takes milliseconds; a dead peer must not cost more than a second.
	dialTimeout = time.Second
	// streamWindow is yamux's smallest receive window; each stream is
	// charged for it whether it is used or not.
	streamWindow = 256 << 10
	// maxStreamWindow is what a window may grow to. 1 MiB moves the largest
	// offer in a few round trips; bulk bytes do not go this way.
	maxStreamWindow = 1 << 20
	// peerConns leaves room for two peers that dial each other at once,
	// and for a connection that is dead but not yet known to be.
	peerConns = 8
	// peerStreams are a HAVE stream each way, identify, and discovery's
	// queries, many of which may run at once.
	peerStreams = 64
	// linkMemory is what one neighbour is charged: a stream each way, one
	// of them grown, and short-lived streams beside them.
	linkMemory = maxStreamWindow + 4*streamWindow
	// spareMemory is room for large frames and for connections that are
	// being made.
	spareMemory = 128 << 20
	// spareConns are connections that are not HAVE links: discovery.
	spareConns = 256
	// guestStreams are the streams of one guest protocol in all, and
	// guestPeerStreams those of it with one peer: a search asks some twenty
	// peers, several run at once, and each may be asked as often.
	guestStreams     = 1024
	guestPeerStreams = 16
)

// newHost makes the libp2p host and listens. The first address must be free;
// a second is IPv6, which a machine may not have.
//
// Whatever libp2p turns on by itself and a cluster has no use for is turned
// off here: QUIC, WebRTC, WebTransport, relays, hole punching, AutoNAT, port
// mapping, ping. Identify stays, because discovery learns
// from it which protocols a peer speaks.
func newHost(id *identity, cfg Config, listen []ma.Multiaddr, announce ma.Multiaddr) (host.Host, error) {
	resources, err := newResources(cfg.Limits, cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("make resource limits: %w", err)
	}
	h, err := libp2p.New(
		libp2p.Identity(id.key),
		libp2p.UserAgent("p2pd"),
		libp2p.NoListenAddrs, // listening is below: New leaks when it fails
		libp2p.AddrsFactory(func(bound []ma.Multiaddr) []ma.Multiaddr { return withPort(announce, bound) }),
		// Dialling from the listening port would collide with the peer's
		// own dial and with connections that linger after a restart.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport(), tcp.WithConnectionTimeout(dialTimeout)),
		libp2p.Security(libp2ptls.ID, newSecurity(id)),
		libp2p.Muxer(yamux.ID, newMuxer()),
		libp2p.ResourceManager(resources),
		// The default manager cuts connections at random above 192. Ours
		// are bounded by the resource limits and by Limits.Links.
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.ConnectionGater(gate{cfg.Members}),
		libp2p.WithDialTimeout(dialTimeout),
		// All addresses of a peer at once: dialTimeout leaves no time for
		// one after the other.
		libp2p.SwarmOpts(swarm.WithDialRanker(swarm.NoDelayDialRanker)),
		// A hundred dead IPv6 peers do not mean that IPv6 is broken.
		libp2p.IPv6BlackHoleSuccessCounter(nil),
		libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.DisableRelay(),
		libp2p.ForceReachabilityPublic(), // no AutoNAT probes
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.Ping(false),
		measured(cfg.Metrics),
		// There is no QUIC, but libp2p starts its machinery nevertheless.
		libp2p.QUICReuse(quicreuse.NewConnManager, quicreuse.DisableReuseport()),
	)
	if err != nil {
		return nil, fmt.Errorf("start libp2p host: %w", err)
	}
	for i, a := range listen {
		err := h.Network().Listen(a)
		if err != nil && i > 0 {
			cfg.Logger.Info("not listening on all addresses", "without", a.String(), "err", err)
		} else if err != nil {
			h.Close()
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
	}
	return h, nil
}

// measured has libp2p register its metrics with reg, or make none. Its event bus
// registers some even then, which are kept away from the process's own registry.
func measured(reg prometheus.Registerer) libp2p.Option {
	return func(cfg *libp2p.Config) error {
		if cfg.PrometheusRegisterer = reg; reg == nil {
			cfg.DisableMetrics, cfg.PrometheusRegisterer = true, prometheus.NewRegistry()
		}
		return nil
	}
}

func newMuxer() *yamux.Transport {
	config := *yamux.DefaultTransport.Config()
	config.LogOutput = io.Discard
	config.MaxStreamWindowSize = maxStreamWindow
	return (*yamux.Transport)(&config)
}

// newResources bounds libp2p by our own limits. Its defaults follow the RAM
// of the host (not of the cgroup), and allow 8 connections and one new one
// in 5 s for each address, which all peers behind one NAT would share.
func newResources(l Limits, reg prometheus.Registerer) (network.ResourceManager, error) {
	conns := 2*l.Links + spareConns
	total := baseLimit(conns, conns*4, l.Memory)
	one := baseLimit(peerConns, peerStreams, peerConns*linkMemory)
	limits := rcmgr.PartialLimitConfig{
		System:               total,
		Transient:            total,
		AllowlistedSystem:    total,
		AllowlistedTransient: total,
		ServiceDefault:       total,
		ServicePeerDefault:   one,
		ProtocolDefault:      total,
		ProtocolPeerDefault:  one,
		PeerDefault:          one,
		Conn:                 baseLimit(1, peerStreams, peerConns*linkMemory),
		Stream:               baseLimit(1, 1, maxFrame+maxStreamWindow+streamWindow),
	}
	limits.Protocol = make(map[protocol.ID]rcmgr.ResourceLimits)
	limits.ProtocolPeer = make(map[protocol.ID]rcmgr.ResourceLimits)
	for _, g := range l.Guests {
		limits.Protocol[protocol.ID(g)] = baseLimit(conns, guestStreams, spareMemory)
		limits.ProtocolPeer[protocol.ID(g)] = baseLimit(peerConns, guestPeerStreams, spareMemory)
	}
	anyAddress := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 0, ConnCount: conns}}
	count := rcmgr.WithMetricsDisabled()
	if reg != nil {
		rcmgr.MustRegisterWith(reg)
		reporter, err := rcmgr.NewStatsTraceReporter()
		if err != nil {
			return nil, err
		}
		count = rcmgr.WithTraceReporter(reporter)
	}
	return rcmgr.NewResourceManager(
		rcmgr.NewFixedLimiter(limits.Build(rcmgr.InfiniteLimits)),
		count,
		rcmgr.WithLimitPerSubnet(anyAddress, anyAddress),
		rcmgr.WithConnRateLimiters(&rate.Limiter{}), // no limit
	)
}

// baseLimit allows the numbers in either direction. Every connection costs a
// file descriptor, so that needs no limit of its own.
func baseLimit(conns, streams int, memory int64) rcmgr.ResourceLimits {
	return rcmgr.BaseLimit{
		Conns: conns, ConnsInbound: conns, ConnsOutbound: conns,
		Streams: streams, StreamsInbound: streams, StreamsOutbound: streams,
		FD:     math.MaxInt,
		Memory: memory,
	}.ToResourceLimits()
}
