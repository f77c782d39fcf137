package ctl

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/journal"
	swarm "github.com/p2pd/p2pd/pkg/scheduler"
)

// peersGive looks whether the peers that have the layer which was pulled, and
// whom the scheduler or the directory named, gave something of it.
func (k *checkup) peersGive(ctx context.Context) (string, error) {
	if k.pull == nil {
		return "", skip("no layer was pulled")
	}
	cl, err := k.cli.p2pd()
	if err != nil {
		return "", err
	}
	var e api.Explanation
	if err := cl.get(ctx, "/explain", url.Values{"name": {k.pull.Digest}}, &e); err != nil {
		return "", err
	}
	if silent := k.silent(e.Entries); silent != "" {
		return "", warn("%s: do all nodes reach each other's ports of peer.listen and peer.bulkListen (here %s)? A firewall, a NetworkPolicy or a wrong peer.advertise keeps them apart", silent, k.ports())
	}
	b := fromWhom(e.Given)
	if b.Peers > 0 {
		return bytesText(b.Peers), nil
	}
	return "no peer was asked", nil
}

// silent says which peers gave nothing while the layer came, as far as the node
// has noticed; empty: none. It blames who cannot be reached, and the scheduler
// lets it read from the registry what others have if nothing comes.
func (k *checkup) silent(entries []api.Event) string {
	var blamed, named []string
	why := ""
	for _, one := range entries {
		if one.Last.Before(k.pull.began) {
			continue
		}
		switch journal.Kind(one.Kind) {
		case journal.Blamed:
			peer, fault, _ := strings.Cut(one.Text, ": ")
			blamed = append(blamed, shortPeer(peer)+" "+fault)
		case journal.Introduced:
			_, who, _ := strings.Cut(one.Text, ": ")
			who, _, _ = strings.Cut(who, " (")
			named = append(named, strings.Fields(who)...)
		case journal.Lease:
			if _, reason, is := strings.Cut(one.Text, "("+swarm.OthersHaveIt); is {
				why = strings.TrimSuffix(reason, ")")
			}
		}
	}
	switch {
	case len(blamed) > 0:
		return "of the peers that have the layer, " + strings.Join(blamed, ", ")
	case why != "":
		return "peers have the layer (" + strings.Join(named, " ") + "), but " + why
	}
	return ""
}

// ports are those of this node that other peers must reach.
func (k *checkup) ports() string {
	var all []string
	for _, a := range k.node.Node.Addresses { // multiaddrs: /ip4/192.0.2.1/tcp/7301
		if _, port, is := strings.Cut(a, "/tcp/"); is {
			all = append(all, port)
			break
		}
	}
	if _, port, err := net.SplitHostPort(k.node.Node.Bulk); err == nil {
		all = append(all, port)
	}
	return strings.Join(all, " and ")
}
