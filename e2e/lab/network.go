package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
)

// Shape is what a network is made of. Rates hold in both directions.
type Shape struct {
	Nodes      int
	NodeRate   Rate
	OriginRate Rate
	// Straggler is the last node's rate, if it is not NodeRate; only in
	// namespaces.
	Straggler Rate
}

// rateOf is the rate of node i's link.
func (s Shape) rateOf(i int) Rate {
	if s.Straggler > 0 && i == s.Nodes-1 {
		return s.Straggler
	}
	return s.NodeRate
}

// maxNodes keeps node addresses clear of the origin's and the scheduler's.
const maxNodes = 1000

// Network is the places of one lab. Shaped says that the kernel holds links to
// the rates; else whoever runs at a place has to.
type Network struct {
	Shape
	Shaped    bool
	Origin    Place
	Scheduler Place
	Nodes     []Place

	close func(context.Context) error
}

// Close removes the network. Nothing may run in it any more.
func (n *Network) Close(ctx context.Context) error { return n.close(ctx) }

// layout gives each place its address below a /16 prefix: nodes from x.y.0.2,
// the origin x.y.255.1, the scheduler x.y.254.1.
func (n *Network) layout(a, b byte, netns func(name string) string) {
	at := func(name string, c, d byte) Place {
		return Place{Name: name, Netns: netns(name), Addr: netip.AddrFrom4([4]byte{a, b, c, d})}
	}
	n.Origin, n.Scheduler = at("origin", 255, 1), at("sched", 254, 1)
	for i := 1; i <= n.Shape.Nodes; i++ {
		n.Nodes = append(n.Nodes, at(fmt.Sprintf("n%d", i), byte(i/250), byte(i%250+1)))
	}
}

// newLoopback is a network without root: each place is an address of 127/8,
// so that ports are the same everywhere. The second byte follows the process,
// and moves on while another run has it.
func newLoopback(shape Shape) (*Network, error) {
	n := &Network{Shape: shape, close: func(context.Context) error { return nil }}
	for try := range 100 {
		b := byte(1 + (os.Getpid()+try)%250)
		probe, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.1:%d", b, originPort))
		if err != nil {
			continue
		}
		if err := probe.Close(); err != nil {
			return nil, fmt.Errorf("probe loopback: %w", err)
		}
		n.layout(127, b, func(string) string { return "" })
		return n, nil
	}
	return nil, errors.New("no free loopback addresses 127.x.255.1 for the origin")
}
