package transport

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"
)

// All peers behind one NAT, or in one IPv6 /56, come from what libp2p by
// default takes for one abuser: it allows 8 connections, one new each 5 s.
func TestManyPeersFromOneAddress(t *testing.T) {
	for _, from := range []string{"/ip4/10.1.2.3/tcp/1", "/ip6/fd00::1/tcp/1"} {
		r, err := newResources(Limits{}.orDefault(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for i := range 500 {
			scope, err := r.OpenConnection(network.DirInbound, true, ma.StringCast(from))
			if err != nil {
				t.Fatalf("connection %d from %s: %v", i, from, err)
			}
			defer scope.Done()
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	limits := Limits{Links: 10}.orDefault()
	r, err := newResources(limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	open := 0
	for range 10 * (2*limits.Links + spareConns) {
		scope, err := r.OpenConnection(network.DirInbound, true, ma.StringCast("/ip4/10.1.2.3/tcp/1"))
		if err != nil {
			break
		}
		defer scope.Done()
		open++
	}
	if want := 2*limits.Links + spareConns; open != want {
		t.Errorf("%d connections were taken, want %d", open, want)
	}
}

func TestNothingIsRegisteredForTheProcess(t *testing.T) {
	count := func() int {
		families, err := prometheus.DefaultGatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range families {
			n += len(f.Metric)
		}
		return n
	}
	before := count()
	launch(t, loopback(t))
	if after := count(); after != before {
		t.Errorf("%d metrics of the process became %d", before, after)
	}
}
